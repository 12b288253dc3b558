/** The demonstrations: the main job, end to end, on this machine. */
export type { DemoCommands } from './commands.ts';
export { Demo } from './demo.ts';
export { LunaDemo } from './luna/luna-demo.ts';
export type { Demonstration, Outcome } from './stage.ts';
export { Story } from './story.ts';
