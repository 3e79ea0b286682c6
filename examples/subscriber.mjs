// Print the AUs of a feed: npm install, then node subscriber.mjs [ENDPOINT]
import { decode } from "@msgpack/msgpack"
import { Subscriber } from "zeromq"

const feed = new Subscriber()
feed.connect(process.argv[2] ?? "tcp://127.0.0.1:5570")
feed.subscribe("au.") // all sources; "au.0" would be one of them

for await (const [topic, payload] of feed) {
  const frame = decode(payload)
  for (const face of frame.faces) {
    const shown = face.calibrated ?? face.intensity // relative to the resting face, once that is known
    const present = frame.aus
      .map((au, i) => ({ au, probability: face.occurrence[i], intensity: shown[i] }))
      .filter((each) => each.probability >= 0.5 && each.intensity >= 1)
      .map((each) => `${each.au}=${each.probability.toFixed(2)}`)
    console.log(frame.source_id, frame.time_s.toFixed(3), "face", face.track_id, ...present)
  }
}
