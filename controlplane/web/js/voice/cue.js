//! Short sounds, made by oscillators: somebody comes or goes, mute and unmute. They play on the
//! person's own side only and are quiet on purpose.

const NOTES = {
  join: [[523, 0], [784, 0.09]],
  leave: [[523, 0], [349, 0.09]],
  someoneJoined: [[659, 0], [880, 0.08]],
  someoneLeft: [[587, 0], [440, 0.08]],
  mute: [[330, 0]],
  unmute: [[494, 0]],
};
const LENGTH_S = 0.14;
const LOUDNESS = 0.035;

let context = null;

/** Plays a cue, if the browser allows sound yet. */
export function cue(name) {
  if (typeof AudioContext === "undefined" || !navigator.userActivation?.hasBeenActive) return;
  context ??= new AudioContext();
  if (context.state !== "running") context.resume().catch(() => null);
  for (const [frequency, afterS] of NOTES[name]) {
    const start = context.currentTime + afterS;
    const tone = new OscillatorNode(context, { frequency, type: "sine" });
    const envelope = new GainNode(context, { gain: 0 });
    envelope.gain.setValueAtTime(0, start);
    envelope.gain.linearRampToValueAtTime(LOUDNESS, start + 0.015);
    envelope.gain.exponentialRampToValueAtTime(0.0001, start + LENGTH_S);
    tone.connect(envelope).connect(context.destination);
    tone.start(start);
    tone.stop(start + LENGTH_S);
  }
}
