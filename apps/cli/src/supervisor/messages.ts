/** What `antipode run` and the supervisor of its program say to each other. */

export type Order =
  /** Pass a signal on to the program. */
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }
  /** End the program, and everything that it has started. */
  | { readonly kind: 'end' }
  /** Answer with `runs`. Whatever was to be reported before is reported before that. */
  | { readonly kind: 'look' };

export type Report =
  /** The program has ended by itself or by order. `left` counts the processes that it leaves behind, which end now. */
  | { readonly kind: 'ended'; readonly status: number; readonly left: number }
  | { readonly kind: 'runs' }
  | { readonly kind: 'not-started'; readonly reason: string }
  /** A process that the supervisor has no right to end. */
  | { readonly kind: 'refused'; readonly pid: number };
