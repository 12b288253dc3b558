/** Whether the heartbeats of a site arrive, by the word for its state. Then its account is of now, even if it is mute. */
export const isHeard = (state: string): boolean => state === 'up' || state === 'mute';
