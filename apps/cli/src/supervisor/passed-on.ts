/** Signals that are passed on to the program. */
export const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

export type PassedOn = (typeof PASSED_ON)[number];

/** They ask for something, and end nothing here. Many programs read their configuration again after SIGHUP. */
export const REQUESTS: ReadonlySet<string> = new Set<PassedOn>(['SIGHUP', 'SIGUSR1', 'SIGUSR2']);
