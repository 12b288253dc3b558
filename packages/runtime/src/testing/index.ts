export { FakeClock } from './fake-clock.ts';
export { rejection, thrown } from './thrown.ts';
