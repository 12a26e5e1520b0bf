//! The two edits that an offer needs before it is used: stereo for the sound of shares, and
//! without the leftovers of codecs that a browser took out of an m-line but not out of its rows.

/** Asks for stereo (RFC 7587 §6.1) on the m-lines with these indices. */
export function withStereo(sdp, indices) {
  let index = -1;
  const opus = new Set();
  return sdp
    .split("\r\n")
    .map((row) => {
      if (row.startsWith("m=")) {
        index += 1;
        opus.clear();
      }
      const map = /^a=rtpmap:(\d+) opus\//i.exec(row);
      if (map) opus.add(map[1]);
      const format = /^a=fmtp:(\d+) /.exec(row);
      return format && opus.has(format[1]) && indices.has(index) && !/stereo=1/.test(row) ? `${row};stereo=1` : row;
    })
    .join("\r\n");
}

/**
 * Drops rows about payload types that the m-line does not list: after setCodecPreferences Firefox
 * leaves the feedback rows of redundancy codecs behind, which strict parsers rightly refuse.
 */
export function withoutLeftovers(sdp) {
  let listed = null;
  return sdp
    .split("\r\n")
    .filter((row) => {
      if (row.startsWith("m=")) listed = new Set(row.split(" ").slice(3));
      const about = /^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) /.exec(row);
      return !about || listed === null || listed.has(about[1]);
    })
    .join("\r\n");
}
