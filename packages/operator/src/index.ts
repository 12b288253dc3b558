/** The words for operators: consequences, troubles, questions. The command and the dashboard say the same by them. */

export { confirmationQuestion, requireTyped } from './confirmation.ts';
export { approvalCommand, CHOSEN_FOR, meaningOfAcceptance, otherSite } from './consequences.ts';
export { duration } from './duration.ts';
export { notCaptured, notServed, troublesOf, unprotectedKeys } from './group-troubles.ts';
export { DRILL_MEANING, PAUSE_MEANING, RESUME_MEANING } from './meanings.ts';
export { type Consent, type Move, orderMove, type PlannedMove, planMove, requireAcceptance } from './move.ts';
export { readApproval } from './recorded-approval.ts';
export { spokenDigest } from './spoken-digest.ts';
