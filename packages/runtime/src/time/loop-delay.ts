/** How late this process's own event loop runs: an observer doubts itself before it convicts a peer. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface LoopDelay {
  /** Largest delay since the last call, milliseconds. */
  maxMs(): number;
  close(): void;
}

export function measureLoopDelay(): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: 10 });
  histogram.enable();
  return {
    maxMs: () => {
      const max = histogram.max / 1e6;
      histogram.reset();
      return Number.isFinite(max) ? Math.round(max) : 0;
    },
    close: () => histogram.disable(),
  };
}
