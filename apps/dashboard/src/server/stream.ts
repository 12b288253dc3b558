/** Updates to one page, as server-sent events. A page that does not read is let go: it comes back for the whole. */
import type { ServerResponse } from 'node:http';
import type { Update, Viewer } from '../model/entries.ts';
import type { Watch } from '../model/watcher.ts';
import { HEADERS } from './headers.ts';

/** The bytes that may wait for a page. One that is this far behind shows nothing of now any more. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;

export function stream(response: ServerResponse, { watch, viewer }: { watch: Watch; viewer: Viewer }): void {
  response.writeHead(200, {
    ...HEADERS,
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    // A proxy must not collect events.
    'x-accel-buffering': 'no',
  });
  const send = (update: Update): void => {
    response.write(`data: ${JSON.stringify(update)}\n\n`);
    if (response.writableLength > WAITING_BYTES_MAX) response.destroy();
  };
  response.write('retry: 1000\n\n');
  send({ ...watch.whole(), viewer });
  const stop = watch.listen(send);
  response.once('close', stop);
}
