/** Where a run of the tool reads and writes: a process, or a test in its own process. */
export interface Terminal {
  readonly isTerminal: boolean;
  write(bytes: Uint8Array, stream?: 'output' | 'error'): void;
  /** Without its line feed; undefined at the end of the input. */
  readLine(): Promise<string | undefined>;
  /** From the terminal, whatever the input is; undefined where there is no terminal. */
  readSecret(): Promise<string | undefined>;
  sleep(ms: number): Promise<void>;
  /** Between two steps: a run that was killed does not go on. */
  turn(): Promise<void>;
  /** Ends the run at once, as SIGKILL does. */
  die(): Promise<never>;
  hang(): Promise<never>;
}

export interface OutputSettings {
  readonly buffering: 'line' | 'block' | 'byte';
  readonly carriageReturns: boolean;
  readonly colours: boolean;
}

/** The output of a run, under its way of buffering. */
export class Output {
  readonly #terminal: Terminal;
  readonly #settings: OutputSettings;
  #held: Buffer[] = [];
  #isGarbling = false;

  constructor(terminal: Terminal, settings: OutputSettings) {
    this.#terminal = terminal;
    this.#settings = settings;
  }

  line(text = ''): void {
    const { carriageReturns, colours } = this.#settings;
    const end = carriageReturns ? '\r\n' : '\n';
    const shown = this.#isGarbling ? garbled(text) : text;
    if (shown !== text) this.#isGarbling = false;
    const body = shown.split('\n').join(end);
    this.raw(`${colours && body.trim() !== '' ? `\u001b[0m${body}\u001b[0m` : body}${end}`);
  }

  raw(text: string): void {
    this.#held.push(Buffer.from(text));
    if (this.#settings.buffering !== 'block' || this.#terminal.isTerminal) this.flush();
  }

  flush(): void {
    const bytes = Buffer.concat(this.#held);
    this.#held = [];
    if (this.#settings.buffering === 'byte') for (const byte of bytes) this.#terminal.write(Buffer.from([byte]));
    else if (bytes.length > 0) this.#terminal.write(bytes);
  }

  /** Lines of a failure, where this build writes them. Held lines go first. */
  error(lines: readonly string[], stream: 'output' | 'error'): void {
    if (stream === 'output') {
      for (const text of lines) this.line(text);
      return;
    }
    this.flush();
    for (const text of lines) this.#terminal.write(Buffer.from(`${text}\n`), 'error');
  }

  /** The next line that is not blank comes out damaged. */
  garble(): void {
    this.#isGarbling = true;
  }

  /** The beginning of a line that never ends. */
  cut(text: string): void {
    this.raw(text.slice(0, Math.ceil(text.length / 2)));
  }
}

function garbled(text: string): string {
  if (text.trim() === '') return text;
  const third = Math.max(1, Math.floor(text.length / 3));
  return `${text.slice(0, third)}\u0000\ufffd${text.slice(2 * third)}`;
}
