export { FakeClock } from './fake-clock.ts';
export { KeptAnswers, TableChanges, type Use, useOf } from './kept-answers.ts';
export { RatedClock } from './rated-clock.ts';
export { rejection, thrown } from './thrown.ts';
