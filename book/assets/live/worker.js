// The net: takes the pixels of a photo, returns its label maps. Whatever it needs, it loads for the first photo.
// The worker's name says where the net runs: "wasm" (CPU) or "webgpu".

const STAGES = ["32s", "16s", "8s"];
const [SCRIPT, BINARY] = {
  wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz"],
  webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm.gz"],
}[self.name];
let net; // { ort, session }
let gpuError; // ONNX Runtime only logs those of WebGPU, and returns zeros
let last = Promise.resolve();
let loaded = 0;
let total = 0;

onmessage = ({ data }) => {
  last = last.then(() => label(data)); // one photo at a time
};

/** Answers with three label maps (bytes, row by row) and the milliseconds that the net took, or with an error. */
async function label({ id, pixels, width, height }) {
  try {
    net ??= await load();
    const images = new net.ort.Tensor("float32", planes(pixels), [1, 3, height, width]);
    const start = performance.now();
    const found = await net.session.run({ images });
    const milliseconds = performance.now() - start;
    if (gpuError) throw gpuError;
    postMessage({ id, labels: STAGES.map((stage) => found[stage].data), milliseconds });
  } catch (error) {
    postMessage({ id, error: String(error.message ?? error) });
  }
}

/** Red, green and blue in 0..1, one after the other, from bytes of RGBA. */
function planes(pixels) {
  const size = pixels.length / 4;
  const values = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) values[channel * size + i] = pixels[4 * i + channel] / 255;
  }
  return values;
}

async function load() {
  loaded = total = 0;
  const parts = await Promise.allSettled([
    import(`./onnxruntime/${SCRIPT}`),
    unpacked(`onnxruntime/${BINARY}`),
    unpacked("net.onnx.gz"),
  ]); // settled, so that no progress of one follows the error of another
  const failed = parts.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
  const [ort, wasm, weights] = parts.map(({ value }) => value);
  ort.env.wasm.numThreads = 1; // more need headers that not every server can send
  ort.env.wasm.wasmBinary = wasm;
  const session = await ort.InferenceSession.create(weights, { executionProviders: [self.name] });
  if (self.name === "webgpu") {
    const device = await ort.env.webgpu.device;
    device.addEventListener("uncapturederror", ({ error }) => (gpuError ??= error));
  }
  return { ort, session };
}

/** A gzipped file of the site; reports the progress. */
async function unpacked(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status})`);
  total += Number(response.headers.get("Content-Length"));
  const counter = new TransformStream({
    transform(chunk, next) {
      loaded += chunk.length;
      postMessage({ loaded, total });
      next.enqueue(chunk);
    },
  });
  const bytes = await new Response(response.body.pipeThrough(counter)).arrayBuffer();
  const [first, second] = new Uint8Array(bytes);
  if (first !== 0x1f || second !== 0x8b) return bytes; // a server said Content-Encoding: gzip, and it is unpacked
  return new Response(new Response(bytes).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
