export { FakeClock } from './fake-clock.ts';
export { ratedClock } from './rated-clock.ts';
export { rejection, thrown } from './thrown.ts';
