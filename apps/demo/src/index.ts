/** The demonstration: the main job, end to end, on this machine. */
export type { DemoCommands } from './commands.ts';
export { Demo, type DemoResult } from './demo.ts';
export { Story } from './story.ts';
