/**
 * One module in a process of its own: a vendor library may block, crash or write to standard output. It asks for the
 * tokens in the slots, without a session and without a login, and tells each as soon as it has it.
 */
import { CKF_TOKEN_INITIALIZED, CKF_USER_PIN_INITIALIZED, hardenProcess, loadCryptoki } from '@antipode/cryptoki';
import { AntipodeError, hasCode } from '@antipode/runtime';

/** The order of the parent. */
export interface ProbeOrder {
  readonly module: string;
  readonly parameters?: string;
  /** Slots that have not answered before. */
  readonly skipped: readonly string[];
}

export interface ProbedToken {
  readonly slot: string;
  readonly label: string;
  readonly serial: string;
  readonly model: string;
  readonly manufacturer: string;
  readonly state: 'ready' | 'without-pin' | 'uninitialised';
}

export type ProbeWord =
  | { readonly begun: true }
  | { readonly slot: string }
  | { readonly token: ProbedToken }
  | { readonly failure: string }
  | { readonly end: true };

const tell = (word: ProbeWord): void => void process.send!(word);

process.on('disconnect', () => process.exit(0));
process.once('message', (order: ProbeOrder) => {
  tell({ begun: true });
  try {
    probe(order);
    tell({ end: true });
  } catch (thrown) {
    tell({ failure: textOf(thrown) });
  }
  // The module is not finalised: one that hangs there has told everything already.
  process.disconnect();
});

function probe({ module, parameters, skipped }: ProbeOrder): void {
  hardenProcess();
  const cryptoki = loadCryptoki(module, parameters);
  for (const slot of cryptoki.slots()) {
    const name = String(slot);
    if (skipped.includes(name)) continue;
    tell({ slot: name });
    try {
      const { label, serial, model, manufacturer, flags } = cryptoki.tokenInfo(slot);
      const isInitialised = (flags & CKF_TOKEN_INITIALIZED) !== 0;
      const state = !isInitialised
        ? 'uninitialised'
        : (flags & CKF_USER_PIN_INITIALIZED) === 0
          ? 'without-pin'
          : 'ready';
      tell({ token: { slot: name, label, serial, model, manufacturer, state } });
    } catch (thrown) {
      // A reader whose card is taken out meanwhile.
      if (hasCode(thrown, 'MODULE_UNAVAILABLE')) throw thrown;
    }
  }
}

const textOf = (thrown: unknown): string => {
  const { code, message } = AntipodeError.from(thrown);
  return message.replace(`[${code}] `, '');
};
