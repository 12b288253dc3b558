export { FakeClock } from './fake-clock.ts';
export { RatedClock } from './rated-clock.ts';
export { rejection, thrown } from './thrown.ts';
