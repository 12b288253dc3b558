/**
 * One step of sharing a token key, in a process of its own: `node process.ts <parent>`. It takes one order over its IPC
 * channel, answers and ends. It dies with its parent, leaves no core file, and no other process of the user reads its
 * memory.
 */
import { hardenProcess, translate } from '@antipode/cryptoki';
import type { FromSharing, SharingOrder } from './share.ts';
import { acceptTokenKey, grantTokenKey, requestTokenKey } from './steps.ts';

hardenProcess();
// The parent may have died before that took effect.
if (process.ppid !== Number(process.argv[2])) process.exit(0);
process.on('disconnect', () => process.exit(0));

process.once('message', (order: SharingOrder) => {
  void answer(order).then((message) => process.send?.(message, () => process.exit(0)));
});

async function answer(order: SharingOrder): Promise<FromSharing> {
  try {
    return { result: await work(order) };
  } catch (thrown) {
    const { code, message, details, ownHint: hint } = translate(thrown, { isOpening: true });
    return { error: { code, message: message.replace(`[${code}] `, ''), details, hint } };
  }
}

function work(order: SharingOrder): Promise<unknown> {
  switch (order.step) {
    case 'request':
      return requestTokenKey(order.partition, order.giver);
    case 'grant':
      return grantTokenKey(order.partition, order);
    case 'accept':
      return acceptTokenKey(order.partition, order);
  }
}
