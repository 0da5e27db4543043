// The page's own slices and meshes, timed in the same way as workstation_page.vtk.mjs.
import { image3d, resliced, centreOf } from "./source/reslice";
import { turned, type Vec3 } from "./source/geometry";
import { canvas3d, drawn, normalsOf, type Mesh } from "./source/raster";

const [W, H, MM] = [600, 450, 0.9];
const FRAMES = 40;
type Pane = { axes: [Vec3, Vec3]; context: CanvasRenderingContext2D; data: ImageData; pixels: Uint32Array; out: Int16Array };

function pane(axes: [Vec3, Vec3]): Pane {
  const canvas = document.createElement("canvas");
  canvas.width = W;
  canvas.height = H;
  document.body.append(canvas);
  const context = canvas.getContext("2d", { willReadFrequently: false })!;
  const data = context.createImageData(W, H);
  return { axes, context, data, pixels: new Uint32Array(data.data.buffer), out: new Int16Array(W * H) };
}

function timed(work: (n: number) => void): { median: number; p95: number } {
  const times: number[] = [];
  for (let n = 0; n < FRAMES; n++) {
    const began = performance.now();
    work(n);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return { median: times[FRAMES / 2]!, p95: times[FRAMES - 2]! };
}

async function main(): Promise<void> {
  const facts = await (await fetch("ct.json")).json();
  const image = image3d(new Int16Array(await (await fetch("ct.raw")).arrayBuffer()), facts.shape, facts.patient_from_voxel);
  const loaded = performance.now();
  const table = new Uint32Array(65536);
  for (let v = 0; v < 65536; v++) {
    const g = Math.max(0, Math.min(255, Math.round(((v - 32768 + 450) / 1500) * 255)));
    table[v] = (0xff000000 | (g << 16) | (g << 8) | g) >>> 0;
  }
  const panes = ([[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, -1]], [[1, 0, 0], [0, 0, -1]]] as [Vec3, Vec3][]).map(pane);
  const draw = (one: Pane, centre: Vec3, tilt = 0): void => {
    const [right, down] = one.axes;
    resliced(image, { centre, right: tilt ? turned(right, down, tilt) : right, down }, W, H, MM, { thickness_mm: 0, mode: "mean" }, one.out);
    for (let p = 0; p < one.out.length; p++) one.pixels[p] = table[one.out[p]! + 32768]!;
    one.context.putImageData(one.data, 0, 0);
    one.context.getImageData(0, 0, 1, 1);
  };
  const c = centreOf(image);
  for (const one of panes) draw(one, c);
  await new Promise(requestAnimationFrame);
  const first = performance.now();
  const result: Record<string, unknown> = {
    loaded, first,
    slider_one: timed((n) => draw(panes[0]!, [c[0], c[1], c[2] + n * 2 - 40])),
    slider_three: timed((n) => panes.forEach((one) => draw(one, [c[0] + n, c[1] + n, c[2] + n * 2 - 40]))),
    oblique: timed((n) => draw(panes[0]!, c, n * 0.02)),
  };
  const began = performance.now();
  const points = new Float32Array(await (await fetch("mesh.v")).arrayBuffer());
  const triangles = new Uint32Array(await (await fetch("mesh.f")).arrayBuffer());
  const mesh: Mesh = { points, triangles, normals: normalsOf(points, triangles), colour: [230, 220, 200], opacity: 0.4 };
  const scene = pane([[1, 0, 0], [0, 1, 0]]);
  const target = canvas3d(W, H);
  const turn = (n: number): void => {
    const camera = { centre: c, forward: [Math.sin(n * 0.05), -Math.cos(n * 0.05), 0] as Vec3, up: [0, 0, 1] as Vec3, mmPerPixel: MM };
    drawn(target, camera, [mesh], 0xff1a1613, scene.pixels);
    scene.context.putImageData(scene.data, 0, 0);
    scene.context.getImageData(0, 0, 1, 1);
  };
  turn(0);
  result["mesh_first"] = performance.now() - began;
  result["mesh_frame"] = timed(turn);
  (window as unknown as { result: unknown }).result = result;
  document.body.dataset["done"] = "1";
}

void main();
