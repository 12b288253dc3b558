/** The meaning of orders that lose nothing, in sentences. The command shows it as help, and the page before the order. */

export const PAUSE_MEANING: readonly string[] = [
  'No failover, no drill, no scrub and no destruction of older domain keys begins by itself.',
  'An automatic failover that has issued its epoch is brought to its end.',
  'Captures, replications and rejoins continue, and so do reports.',
  'Orders of operators are carried out as ever.',
];

export const RESUME_MEANING: readonly string[] = [
  'After an automatic failover, none follows in the same group for an hour.',
  'A site that comes and goes is a matter for a person. This order ends that wait, and a pause.',
];

export const DRILL_MEANING: readonly string[] = [
  'The newest acknowledged generation is restored into a scratch partition, and every key is proved there.',
  'The scratch partition is emptied before and after. No production partition is touched.',
];
