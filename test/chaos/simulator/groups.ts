/** The group to which everything is done, and one beside it, to whose members nothing is done. */
export const GROUP = 'payments';
export const OTHER_GROUP = 'ledger';
