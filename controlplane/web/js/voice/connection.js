//! One RTCPeerConnection for one voice session: one offer, one answer, never renegotiated.
//! The lines stand in a fixed order: four to send by, eight voices, four pictures each with its
//! sound. Tracks come and go by replaceTrack alone.

import { withStereo, withoutLeftovers } from "./offer_text.js";

const VOICE_SLOTS = 8;
const VIDEO_SLOTS = 4;

const VIDEO_CODECS = ["video/vp8", "video/vp9", "video/h264", "video/av1", "video/rtx"];
const AUDIO_CODECS = ["audio/opus"];

/** kbit/s by layer of a 720p camera. */
const CAMERA_ENCODINGS = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];
const SCREEN_ENCODINGS = [{ maxBitrate: 8_000_000, maxFramerate: 60 }];
const SCREEN_SOUND_ENCODINGS = [{ maxBitrate: 128_000 }];

/** The media path of one session. `onState` hears each change of the connection's state. */
export class Connection {
  /** Kind → RTCRtpSender. */
  senders = {};
  /** Receivers of the voice slots. */
  voices = [];
  /** `{ video, sound }` receivers of the video slots. */
  videos = [];
  /** The session that the server gave, once the answer is there. */
  session = null;
  /** performance.now() of the moment when media could flow; null before. */
  connectedAt = null;

  #sends = [];
  #voiceLines = [];
  #videoLines = [];
  #onState;

  constructor(onState) {
    this.#onState = onState;
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.#addSend("microphone", "audio");
    this.#addSend("camera", "video", CAMERA_ENCODINGS);
    this.#addSend("screen", "video", SCREEN_ENCODINGS);
    this.#addSend("screen_audio", "audio", SCREEN_SOUND_ENCODINGS);
    for (let slot = 0; slot < VOICE_SLOTS; slot += 1) this.#voiceLines.push(this.#addReceive("audio"));
    for (let slot = 0; slot < VIDEO_SLOTS; slot += 1) {
      this.#videoLines.push({ video: this.#addReceive("video"), sound: this.#addReceive("audio") });
    }
    this.voices = this.#voiceLines.map((line) => line.receiver);
    this.videos = this.#videoLines.map(({ video, sound }) => ({ video: video.receiver, sound: sound.receiver }));
    this.pc.addEventListener("connectionstatechange", () => {
      if (this.pc.connectionState === "connected") this.connectedAt ??= performance.now();
      this.#onState(this.pc.connectionState);
    });
  }

  #addSend(kind, media, sendEncodings) {
    const line = this.pc.addTransceiver(media, { direction: "sendonly", ...(sendEncodings && { sendEncodings: sendEncodings.map((one) => ({ ...one })) }) });
    prefer(line, media);
    this.#sends.push({ kind, line });
    this.senders[kind] = line.sender;
  }

  #addReceive(media) {
    const line = this.pc.addTransceiver(media, { direction: "recvonly" });
    prefer(line, media);
    return line;
  }

  /** Puts a track on a sending line, or takes it off with null. */
  replace(kind, track) {
    return this.senders[kind].replaceTrack(track);
  }

  /** Makes the offer. Candidates are not waited for: the server is lite and learns them from checks. */
  async offer() {
    const offer = await this.pc.createOffer();
    const sounds = new Set(this.#videoLines.map(({ sound }) => indexOfLine(this.pc, sound)));
    try {
      await this.pc.setLocalDescription({ type: "offer", sdp: withStereo(offer.sdp, sounds) });
    } catch {
      // A browser that refuses the edited offer plays screen sound in mono.
      await this.pc.setLocalDescription(offer);
    }
    return {
      sdp: withoutLeftovers(this.pc.localDescription.sdp),
      lines: {
        sends: this.#sends.map(({ kind, line }) => ({ mid: line.mid, kind })),
        voices: this.#voiceLines.map((line) => line.mid),
        videos: this.#videoLines.map(({ video, sound }) => ({ video: video.mid, sound: sound.mid })),
      },
    };
  }

  /** Takes the server's answer. */
  async accept(session, sdp) {
    this.session = session;
    await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** Ends the session; the browser tells the server by DTLS close_notify. */
  close() {
    this.#onState = () => {};
    this.pc.close();
  }
}

function indexOfLine(pc, line) {
  return pc.getTransceivers().indexOf(line);
}

/** Offers only codecs that the server knows: it keeps the offer under the size it accepts. */
function prefer(line, media) {
  if (typeof line.setCodecPreferences !== "function") return;
  const wanted = media === "video" ? VIDEO_CODECS : AUDIO_CODECS;
  const codecs = RTCRtpReceiver.getCapabilities(media).codecs.filter((codec) => {
    const type = codec.mimeType.toLowerCase();
    const format = codec.sdpFmtpLine ?? "";
    if (!wanted.includes(type)) return false;
    if (type === "video/vp9") return !/profile-id=[1-9]/.test(format);
    if (type === "video/av1") return !/profile=[1-9]/.test(format);
    if (type === "video/h264") return /packetization-mode=1/.test(format) && /profile-level-id=42/i.test(format);
    return true;
  });
  if (codecs.length === 0) return;
  try {
    line.setCodecPreferences(codecs);
  } catch {
    // The browser then offers its own list, which is longer but just as valid.
  }
}
