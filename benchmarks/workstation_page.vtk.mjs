import "@kitware/vtk.js/Rendering/Profiles/All";
import vtkGenericRenderWindow from "@kitware/vtk.js/Rendering/Misc/GenericRenderWindow";
import vtkImageResliceMapper from "@kitware/vtk.js/Rendering/Core/ImageResliceMapper";
import vtkImageSlice from "@kitware/vtk.js/Rendering/Core/ImageSlice";
import vtkPlane from "@kitware/vtk.js/Common/DataModel/Plane";
import vtkImageData from "@kitware/vtk.js/Common/DataModel/ImageData";
import vtkDataArray from "@kitware/vtk.js/Common/Core/DataArray";
import vtkPolyData from "@kitware/vtk.js/Common/DataModel/PolyData";
import vtkMapper from "@kitware/vtk.js/Rendering/Core/Mapper";
import vtkActor from "@kitware/vtk.js/Rendering/Core/Actor";
import vtkResliceCursorWidget from "@kitware/vtk.js/Widgets/Widgets3D/ResliceCursorWidget";
import vtkPaintWidget from "@kitware/vtk.js/Widgets/Widgets3D/PaintWidget";
import vtkLineWidget from "@kitware/vtk.js/Widgets/Widgets3D/LineWidget";
import vtkWidgetManager from "@kitware/vtk.js/Widgets/Core/WidgetManager";
window.keep = [vtkResliceCursorWidget, vtkPaintWidget, vtkLineWidget, vtkWidgetManager];

// vtk.js doing what workstation_page.canvas.ts does: three slices, sliders, an oblique, a translucent mesh. Each frame
// ends with one pixel read back, so that the time is that of the finished picture.
const W = 600, H = 450;
function view() { const e = document.createElement("div"); e.style.width = W + "px"; e.style.height = H + "px"; document.body.append(e);
  const g = vtkGenericRenderWindow.newInstance({ background: [0, 0, 0], listenWindowResize: false }); g.setContainer(e); g.resize();
  const gl = g.getApiSpecificRenderWindow().get3DContext ? g.getApiSpecificRenderWindow().get3DContext() : g.getApiSpecificRenderWindow().getContext();
  return { g, r: g.getRenderer(), render() { g.getRenderWindow().render(); const px = new Uint8Array(4); gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, px); } }; }
const time = (f) => { const t = []; for (let n = 0; n < 40; n++) { const s = performance.now(); f(n); t.push(performance.now() - s); } t.sort((a,b)=>a-b); return { median: t[20], p95: t[38] }; };
async function main() {
  const meta = await (await fetch("ct.json")).json();
  const array = new Int16Array(await (await fetch("ct.raw")).arrayBuffer());
  const loaded = performance.now();
  const f16 = meta.patient_from_voxel, m = [0, 1, 2].map((r) => f16.slice(4 * r, 4 * r + 4));
  const image = vtkImageData.newInstance(); image.setDimensions(meta.shape); image.setSpacing([m[0][0], m[1][1], m[2][2]]); image.setOrigin([m[0][3], m[1][3], m[2][3]]);
  image.getPointData().setScalars(vtkDataArray.newInstance({ numberOfComponents: 1, values: array }));
  const c = image.getCenter();
  const dirs = [[[0,0,1],[0,-1,0]],[[1,0,0],[0,0,1]],[[0,1,0],[0,0,1]]];
  const panes = dirs.map(([n, up]) => { const v = view(); const mapper = vtkImageResliceMapper.newInstance(); mapper.setInputData(image);
    const plane = vtkPlane.newInstance({ origin: c, normal: n }); mapper.setSlicePlane(plane);
    const actor = vtkImageSlice.newInstance(); actor.setMapper(mapper); actor.getProperty().setColorWindow(1500); actor.getProperty().setColorLevel(300); actor.getProperty().setInterpolationTypeToLinear && actor.getProperty().setInterpolationTypeToLinear();
    v.r.addActor(actor); const cam = v.r.getActiveCamera(); cam.setParallelProjection(true); cam.setFocalPoint(...c); cam.setPosition(c[0]-n[0]*500, c[1]-n[1]*500, c[2]-n[2]*500); cam.setViewUp(...up); v.r.resetCamera(); cam.setParallelScale(H/2*0.9); v.r.resetCameraClippingRange();
    return { ...v, plane, cam }; });
  panes.forEach((p) => p.render());
  await new Promise(requestAnimationFrame);
  const first = performance.now();
  const result = { loaded, first,
    slider_one: time((n) => { panes[0].plane.setOrigin([c[0], c[1], c[2] + n * 2 - 40]); panes[0].r.resetCameraClippingRange(); panes[0].render(); }),
    slider_three: time((n) => panes.forEach((p) => { p.plane.setOrigin([c[0]+n, c[1]+n, c[2] + n * 2 - 40]); p.r.resetCameraClippingRange(); p.render(); })),
    oblique: time((n) => { panes[0].plane.setNormal([Math.sin(n*.02), 0, Math.cos(n*.02)]); panes[0].render(); }) };
  // 3D
  const s3 = performance.now();
  const v = new Float32Array(await (await fetch("mesh.v")).arrayBuffer()), f = new Uint32Array(await (await fetch("mesh.f")).arrayBuffer());
  const cells = new Uint32Array(f.length / 3 * 4); for (let t = 0; t < f.length / 3; t++) { cells[4*t] = 3; cells[4*t+1] = f[3*t]; cells[4*t+2] = f[3*t+1]; cells[4*t+3] = f[3*t+2]; }
  const poly = vtkPolyData.newInstance(); poly.getPoints().setData(v, 3); poly.getPolys().setData(cells);
  const mapper = vtkMapper.newInstance(); mapper.setInputData(poly); const actor = vtkActor.newInstance(); actor.setMapper(mapper); actor.getProperty().setOpacity(0.4);
  const p = view(); p.r.addActor(actor); p.r.resetCamera(); p.render(); result.mesh_first = performance.now() - s3;
  result.mesh_frame = time((n) => { p.r.getActiveCamera().azimuth(3); p.r.resetCameraClippingRange(); p.render(); });
  window.result = result; document.body.dataset.done = "1";
}
main().catch((e) => { document.body.dataset.done = "error " + e.stack; });
