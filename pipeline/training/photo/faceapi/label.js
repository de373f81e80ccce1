// Labels faces: reads pictures (SIZE * SIZE * 3 bytes, RGB) one after another from stdin, and answers each with one line
// of JSON: null where no face is found, else its score, age, gender (probability of a woman), expressions, the 68
// landmarks in pixels, and the descriptor of 128 numbers (the same person within a distance of 0.6).
//
//     node label.js SIZE
const path = require("path");
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");
const faceapi = require("@vladmandic/face-api/dist/face-api.node-wasm.js");

async function* pictures(bytes) {
  let waiting = Buffer.alloc(0);
  for await (const part of process.stdin) {
    waiting = Buffer.concat([waiting, part]);
    for (; waiting.length >= bytes; waiting = waiting.subarray(bytes)) yield waiting.subarray(0, bytes);
  }
}

async function label(pixels, size) {
  const picture = tf.tensor3d(new Uint8Array(pixels), [size, size, 3], "int32");
  const options = new faceapi.SsdMobilenetv1Options({ minConfidence: 0.1, maxResults: 5 });
  const found = await faceapi
    .detectAllFaces(picture, options)
    .withFaceLandmarks()
    .withFaceExpressions()
    .withAgeAndGender()
    .withFaceDescriptors();
  picture.dispose();
  if (!found.length) return null;
  const face = found.reduce((a, b) => (a.detection.box.area > b.detection.box.area ? a : b));
  return {
    score: face.detection.score,
    age: face.age,
    female: face.gender === "female" ? face.genderProbability : 1 - face.genderProbability,
    expressions: { ...face.expressions },
    landmarks: face.landmarks.positions.map((point) => [point.x, point.y]),
    descriptor: Array.from(face.descriptor),
  };
}

async function main() {
  const size = Number(process.argv[2]);
  wasm.setWasmPaths(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + path.sep);
  wasm.setThreadsCount(1);
  await faceapi.tf.setBackend("wasm");
  await faceapi.tf.ready();
  const models = path.join(path.dirname(require.resolve("@vladmandic/face-api/package.json")), "model");
  const { ssdMobilenetv1, faceLandmark68Net, faceExpressionNet, ageGenderNet, faceRecognitionNet } = faceapi.nets;
  for (const net of [ssdMobilenetv1, faceLandmark68Net, faceExpressionNet, ageGenderNet, faceRecognitionNet]) {
    await net.loadFromDisk(models);
  }
  for await (const pixels of pictures(size * size * 3)) {
    process.stdout.write(JSON.stringify(await label(pixels, size)) + "\n");
  }
}

main();
