// Labels aligned faces: reads pictures (SIZE * SIZE * 3 bytes, RGB) one after another from stdin, and answers each with
// one line of JSON: age, gender (probability of a woman), expressions, the 68 landmarks in pixels, and the descriptor of
// 128 numbers (the same person within a distance of 0.6).
//
//     node label.js SIZE
//
// Aligned faces are where they are expected, so no detector looks for them: it would take four times as long as the rest.
const path = require("path");
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");
const faceapi = require("@vladmandic/face-api/dist/face-api.node-wasm.js");

const BOX = new faceapi.Rect(0.215, 0.235, 0.58, 0.66); // where the detector finds them, in shares of the picture

async function* pictures(bytes) {
  let waiting = Buffer.alloc(0);
  for await (const part of process.stdin) {
    waiting = Buffer.concat([waiting, part]);
    for (; waiting.length >= bytes; waiting = waiting.subarray(bytes)) yield waiting.subarray(0, bytes);
  }
}

async function cropped(picture, box, work) {
  const [crop] = await faceapi.extractFaceTensors(picture, [box]);
  const result = await work(crop);
  crop.dispose();
  return result;
}

async function label(pixels, size) {
  const { faceLandmark68Net, faceExpressionNet, ageGenderNet, faceRecognitionNet } = faceapi.nets;
  const picture = tf.tensor3d(new Uint8Array(pixels), [size, size, 3], "int32");
  const detection = new faceapi.FaceDetection(1, BOX, { width: size, height: size });
  const landmarks = await cropped(picture, detection, (crop) => faceLandmark68Net.detectLandmarks(crop));
  const face = faceapi.extendWithFaceLandmarks({ detection }, landmarks);
  const answer = await cropped(picture, face.alignedRect, async (crop) => {
    const { age, gender, genderProbability } = await ageGenderNet.predictAgeAndGender(crop);
    return {
      age,
      female: gender === "female" ? genderProbability : 1 - genderProbability,
      expressions: { ...(await faceExpressionNet.predictExpressions(crop)) },
      landmarks: face.landmarks.positions.map((point) => [point.x, point.y]),
      descriptor: Array.from(await faceRecognitionNet.computeFaceDescriptor(crop)),
    };
  });
  picture.dispose();
  return answer;
}

async function main() {
  const size = Number(process.argv[2]);
  wasm.setWasmPaths(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + path.sep);
  wasm.setThreadsCount(1);
  await faceapi.tf.setBackend("wasm");
  await faceapi.tf.ready();
  const models = path.join(path.dirname(require.resolve("@vladmandic/face-api/package.json")), "model");
  const { faceLandmark68Net, faceExpressionNet, ageGenderNet, faceRecognitionNet } = faceapi.nets;
  for (const net of [faceLandmark68Net, faceExpressionNet, ageGenderNet, faceRecognitionNet]) {
    await net.loadFromDisk(models);
  }
  for await (const pixels of pictures(size * size * 3)) {
    process.stdout.write(JSON.stringify(await label(pixels, size)) + "\n");
  }
}

main();
