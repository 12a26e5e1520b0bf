//! Chooses the video codec to publish with: the best one that everybody in the channel can decode
//! and that this browser can send. Uses `encodings[].codec`, so nothing is negotiated again.

const TYPES = { vp8: "video/vp8", vp9: "video/vp9", h264: "video/h264", av1: "video/av1" };

/** Whether this browser can switch the codec without a new offer. */
function canChoose(sender) {
  return typeof sender.getParameters === "function" && (sender.getParameters().codecs?.length ?? 0) > 0;
}

/**
 * Makes the sender use the first usable one of `codecs` (best first). Returns the codec's name,
 * null when the browser's own choice stands, or undefined when nothing in common is left.
 */
export async function publishWith(sender, codecs, { screen }) {
  if (codecs.length === 0 || !canChoose(sender)) return null;
  const parameters = sender.getParameters();
  const sendable = new Set(RTCRtpSender.getCapabilities("video").codecs.map((codec) => codec.mimeType.toLowerCase()));
  for (const name of codecs) {
    const type = TYPES[name];
    const negotiated = parameters.codecs.find((codec) => codec.mimeType.toLowerCase() === type);
    if (!negotiated || !sendable.has(type)) continue;
    const codec = {
      mimeType: negotiated.mimeType,
      clockRate: negotiated.clockRate,
      ...(negotiated.sdpFmtpLine !== undefined && { sdpFmtpLine: negotiated.sdpFmtpLine }),
    };
    for (const encoding of parameters.encodings) {
      encoding.codec = codec;
      // VP9 and AV1 would otherwise use spatial layers inside of each simulcast stream.
      if (name === "vp9" || name === "av1") encoding.scalabilityMode = screen ? "L1T1" : "L1T2";
      else delete encoding.scalabilityMode;
    }
    try {
      await sender.setParameters(parameters);
      return name;
    } catch {
      // Firefox does not know `codec` here: the answer's first codec is used.
      return null;
    }
  }
  return undefined;
}
