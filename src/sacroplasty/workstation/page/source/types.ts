/** What the server says; the contract is docs/workstation_api.md. Coordinates are patient LPS in mm. */

import type { Vec3 } from "./geometry";

export interface Refusal { code: string; what: string; got?: string; remedy?: string; sentence: string }

export interface Parameter { name: string; default: unknown; help: string }
export interface StageInfo { name: string; needs: string[]; gives: string; help: string; parameters: Parameter[] }

export interface About {
  version: string; notice: string; stages: StageInfo[];
  approaches: { name: string; stages: string[]; midline: boolean }[];
  needles: { gauge_number: number; outer_diameter_mm: number; inner_diameter_mm: number; length_mm: number }[];
  guidance: string[]; cements: string[]; carms: string[];
  patient_positions: { code: string; words: string }[];
  window_presets: { name: string; centre_hu: number; width_hu: number }[];
  schedules: Record<string, { name: string; day: number }[]>;
  choices: Record<string, string[]>;
  demo_cases: string[]; archives: string[]; folders: string[];
  /** The server only shows what is stored: nothing is changed, computed or sent. */
  read_only: boolean;
}

export interface Finding {
  severity: "info" | "caution" | "warning" | "blocker"; code: string; message: string; structure: string;
  where_mm: Vec3 | null; evidence: string[];
}

export interface Summary {
  id: string; name: string; revision: number; stages: string[]; simulated: boolean; verdict: string | null;
  changed_at: string | null; decision: string | null; running_job: string | null;
}

export interface CaseDetails extends Summary {
  source: Record<string, unknown> & { remarks?: { code: string; message: string; acknowledged: boolean }[] };
  sentences: string[]; findings: Finding[]; evidence: string[]; stale: string[];
}

export interface Job {
  id: string; kind: string; case: string | null; title: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled" | "interrupted";
  fraction: number; message: string; created_at: string; started_at: string | null; ended_at: string | null;
  error: Refusal | null; result: Record<string, unknown> | null; can_cancel: boolean; can_resume: boolean;
}

export interface ImageLevel {
  level: number; url: string; shape: Vec3; spacing_mm: Vec3; origin_mm: Vec3; direction: number[]; bytes: number;
}
export interface ImageInfo {
  name: string; kind: string; unit: string; type: "int16" | "uint8" | "float32"; lowest: number; highest: number; window: [number, number];
  names: Record<string, string>; present?: (string | number)[]; levels: ImageLevel[];
}

export interface SurfaceInfo {
  name: string; kind: string; colour: string | number[]; url: string; simulated: boolean;
}

export interface Foramen {
  name: string; level: string; side: string; face: string; centre_mm: Vec3; axis: Vec3; width_mm: number; height_mm: number;
  state: string; uncertainty_mm: number; confidence: number; rim_mm: Vec3[];
}
export interface Root {
  name: string; level: string; side: string; points_mm: Vec3[]; radius_mm: number; state: string; uncertainty_mm: number;
}
export interface Landmark { name: string; position_mm: Vec3; state: string; uncertainty_mm: number; confidence: number }
export interface Anatomy {
  levels: { level: string; body_centre_mm: Vec3; state: string; uncertainty_mm: number }[];
  foramina: Foramen[]; roots: Root[];
  canal: { centreline_mm?: Vec3[]; state: string } | null;
  hiatus: { apex_mm: Vec3; apex_level: string; depth_mm: number; width_mm: number; length_mm: number; state: string } | null;
  landmarks: Record<string, Landmark>; measures: Record<string, number | null>; confidences: Record<string, number>;
  findings: Finding[]; source: string;
}

export interface Lesion {
  volume_ml: number; centre_mm: Vec3; kind: string; levels: Record<string, number>; zones: Record<string, number>;
  walls: { name: string; integrity: string; breach_area_mm2: number | null; adjacent_area_mm2: number | null; where_mm: Vec3 | null }[];
  measures: Record<string, number | null>; soft_tissue_ml: number | null; findings: Finding[]; synthetic: boolean; image: string;
}

export interface Crossing { structure: string; start_depth_mm: number; end_depth_mm: number; permitted: boolean }
export interface Clearance {
  structure: string; distance_mm: number; required_mm: number; depth_mm: number; where_mm: Vec3;
  breach_probability: number | null; breach_probability_upper: number | null; estimate_mm: number | null;
}
export interface NeedlePlan {
  needle: { gauge_number: number; outer_diameter_mm: number; inner_diameter_mm: number; length_mm: number; bevel_angle_deg: number };
  trajectory: { entry_mm: Vec3; target_mm: Vec3 };
  crossings: Crossing[]; clearances: Clearance[];
  injections: { tip_depth_mm: number; volume_ml: number; rate_ml_s: number; cement: string; order: number }[];
  bevel_azimuth_deg: number | null;
  derived?: { length_mm: number; cephalad_deg: number; leftward_deg: number; bevel_clock: string | number | null };
}
export interface Plan {
  approach: string; side: string; target_level: string; feasible: boolean; rank: number; reasons: string[];
  findings: Finding[]; measures: Record<string, number | null>; needles: NeedlePlan[]; spoken?: [string, string][];
}

export interface ViewInfo {
  number: number; name: string; purpose: string; lao_deg: number; cra_deg: number; angles_label: string; isocentre_mm: Vec3;
  carm: string; patient_position: string; url: string;
  visibility?: { structure: string; seen: string }[];
}
export interface ShotInfo {
  angles_label: string; tilt_words: string; lao_deg: number; cra_deg: number; mirrored: boolean; simulated: boolean;
  notice: string; size: number; pixel_mm_at_isocentre: number;
  letters: { left: string; right: string; up: string; down: string };
  reach: { possible: boolean; reason: string; gap_mm: number | null };
  overlays: Overlay[];
}
export interface Overlay { name: string; kind: string; state: string; points: ([number, number] | null)[] }

export interface Moment {
  time_s: number; age_s: number; injected_ml: number; rate_ml_s: number; tip_kpa: number; syringe_kpa: number;
  lesion_fill: number; leaked_ml: number; needle: number;
}
export interface Cement {
  simulated: boolean; cement: string; requested_ml: number; injected_ml: number; placed_ml: number; escaped_ml: number;
  tail_ml: number; lesion_fill: number; stopped: string; compartments: Record<string, number>;
  leaks: { compartment: string; volume_ml: number; first_leak_ml: number | null; probability: number | null }[];
  fronts: { structure: string; distance_mm: (number | null)[]; contact_ml: number | null; seconds_to_contact: number | null }[];
  moments: Moment[]; alarms: { time_s: number; injected_ml: number; structure: string; message: string }[];
  findings: Finding[]; stop_rules: string[]; assumptions: Record<string, string>; statement: string;
}
export interface Venogram {
  simulated: boolean; stale: boolean;
  outlets: { name: string; share: number; first_s: number | null; order: number }[];
  shifts: { along_mm: number; across_mm: number; tip_mm: Vec3; venous_share: number; lesion_share: number }[];
  shares: Record<string, number>; volume_ml: number; findings: Finding[]; statement: string;
}

export interface Deviation {
  tip_mm: Vec3; radius_95_mm: number; ellipsoid: { axes_mm: number[] }; lateral_mm: number; remaining_mm: number;
  angle_deg: number; inside_lesion: boolean | number; clearance_mm: number | null; clearance_bound_mm: number | null;
  advice: "continue" | "correct" | "stop"; sentence: string; misfit_pixels: number;
}
export interface Session {
  id: string; state: "shot" | "registering" | "registered" | "refused" | "void"; simulated: boolean; at: string;
  shots: { n: number; url: string; size: number; rows: number; angles_label: string; letters: ShotInfo["letters"] }[];
  registration: { accepted: boolean; sentence: string; mismatch: number; expected_error_mm: number | null } | null;
  overlays: Overlay[][]; answers: Deviation[];
}

export interface Step {
  key: string; words: string; required: boolean; after: string[]; done_at: string | null; note: string;
  minutes_after_antibiotic: number | null;
}
