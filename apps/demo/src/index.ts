/** The demonstration: the main job, end to end, on this machine. */
export { Demo, type DemoCommands, type DemoResult } from './demo.ts';
export { Story } from './story.ts';
