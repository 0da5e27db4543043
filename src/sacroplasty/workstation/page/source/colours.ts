/** Colours that stay apart for colour-blind eyes (Okabe and Ito 2008) on a dark ground; one accent for the page itself. */

import type { Vec3 } from "./geometry";

export const ACCENT = "#4cc2c4";
export const COLOURS: Readonly<Record<string, Vec3>> = {
  sacrum: [86, 180, 233], coccyx: [86, 150, 200], l5: [0, 158, 115], l4: [60, 130, 105],
  hip_left: [150, 160, 175], hip_right: [150, 160, 175], femur_left: [120, 128, 140], femur_right: [120, 128, 140],
  canal: [240, 228, 66], root_tunnel: [230, 159, 0], si_joint_left: [204, 121, 167], si_joint_right: [204, 121, 167],
  disc_l5_s1: [110, 120, 150], lesion: [213, 94, 0], cement: [90, 220, 130], root: [240, 228, 66], foramen: [230, 159, 0],
  needle: [255, 255, 255], metal: [235, 235, 235], skin: [190, 160, 140], vessel: [190, 90, 110], organ: [150, 115, 80],
  soft: [104, 84, 74], joint: [204, 121, 167], bone: [205, 200, 190],
};
const OTHER: Vec3 = [150, 150, 150];

/** Colours of what a needle crosses, by the planner's words. */
const CROSSED: Readonly<Record<string, string>> = {
  ilium: "hip_left", "si joint": "joint", "sacral canal": "canal", "thecal sac": "canal", "interosseous ligament": "joint", "soft tissue": "soft",
};

export function colourOf(name: string, kind = ""): Vec3 {
  const crossed = CROSSED[name.toLowerCase()];
  if (crossed) return COLOURS[crossed]!;
  if (COLOURS[name]) return COLOURS[name];
  if (/artery|vein|aorta|cava/.test(name)) return COLOURS["vessel"]!;
  if (name.startsWith("lesion")) return COLOURS["lesion"]!;
  if (name.startsWith("cement")) return COLOURS["cement"]!;
  return COLOURS[kind] ?? OTHER;
}

export const css = (c: Vec3, alpha = 1): string => `rgba(${c[0]}, ${c[1]}, ${c[2]}, ${alpha})`;
export const packed = (c: Vec3): number => ((255 << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;
