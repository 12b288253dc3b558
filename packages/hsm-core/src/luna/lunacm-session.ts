/**
 * One run of `lunacm`. A command is sent, its trailer and the next prompt are awaited, and only then the next command is
 * sent. Where the tool ends, hangs or asks something that nobody knows, the outcome of the command is unknown, and the
 * run is over.
 *
 * A confirmation is answered with `quit`, unless the command was approved. The exit status of the tool is not looked at.
 */
import { AntipodeError, type Clock } from '@antipode/runtime';
import { type Command, exit, lineOf, secretsOf, shownOf } from './commands.ts';
import { withoutPrompts } from './parse/clean-text.ts';
import { type Failure, failureOf, trailerOf } from './parse/reply.ts';
import { type ClientVersion, clientVersionIn, type Slot, slotsIn } from './parse/slots.ts';
import type { Phrases } from './phrases.ts';
import { Scanner } from './scanner.ts';
import type { Transcript } from './transcript.ts';
import type { SilenceLimits } from './transport/limits.ts';
import type { ToolEnd, ToolProcess } from './transport/tool-process.ts';

export type UnknownWhy = 'ended' | 'silent' | 'question' | 'no trailer' | 'several trailers';

export type Reply =
  | { readonly outcome: 'done'; readonly lines: readonly string[]; readonly wasAtPed: boolean }
  | { readonly outcome: 'failed'; readonly failure: Failure; readonly lines: readonly string[] }
  /** The tool asked whether to go on, and the answer was no. */
  | { readonly outcome: 'declined'; readonly lines: readonly string[] }
  | { readonly outcome: 'unknown'; readonly why: UnknownWhy; readonly lines: readonly string[] };

export interface SessionPorts {
  readonly process: ToolProcess;
  readonly clock: Clock;
  readonly phrases: Phrases;
  readonly limits: SilenceLimits;
  readonly transcript: Transcript;
  /** Called at once when the tool waits for people at the PED. */
  readonly onPed: () => void;
}

type Happened = 'output' | 'ended' | 'silence';

export class LunacmSession {
  readonly #ports: SessionPorts;
  readonly #scanner = new Scanner();
  #end: ToolEnd | undefined;
  #hasNews = false;
  #wake: () => void = () => {};
  #isOver = false;
  version: ClientVersion | undefined;
  /** As reported at the start; empty where the client sees no device. */
  slots: readonly Slot[] = [];

  private constructor(ports: SessionPorts) {
    this.#ports = ports;
    ports.process.read((bytes) => {
      this.#scanner.feed(bytes);
      this.#tell();
    });
    void ports.process.ended.then((end) => {
      this.#end = end;
      this.#tell();
    });
  }

  /** @throws LUNA_UNREACHED, LUNA_OUTPUT_UNCLEAR */
  static async open(ports: SessionPorts): Promise<LunacmSession> {
    const session = new LunacmSession(ports);
    await session.#start();
    return session;
  }

  async #start(): Promise<void> {
    const { limits, phrases } = this.#ports;
    const lines: string[] = [];
    for (;;) {
      lines.push(...this.#takeLines());
      if (phrases.prompt.pattern.test(this.#scanner.tail)) break;
      const happened = await this.#next(limits.startMs);
      if (happened === 'output') continue;
      const why = happened === 'ended' ? 'it ended before its first prompt' : 'it printed no prompt';
      this.#giveUp(why);
      throw new AntipodeError('LUNA_UNREACHED', `lunacm did not start: ${why}`, {
        ...(happened === 'ended' ? {} : { hint: SILENT_AT_START }),
      });
    }
    this.version = clientVersionIn(lines, phrases);
    if (this.version === undefined) {
      this.#giveUp('its banner is not known');
      throw new AntipodeError('LUNA_OUTPUT_UNCLEAR', 'the banner is not one of lunacm');
    }
    try {
      this.slots = slotsIn(lines, phrases);
    } catch (cause) {
      this.#giveUp('its list of slots cannot be read');
      throw cause;
    }
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * @param options `isApproved` covers one confirmation of this command. As a function, it decides by what the tool has
   * printed before its question.
   */
  async run(
    command: Command,
    { isApproved = false }: { isApproved?: boolean | ((lines: readonly string[]) => boolean) } = {},
  ): Promise<Reply> {
    const { transcript, limits, phrases } = this.#ports;
    if (this.#isOver || this.#hasSurplus()) return this.#unknown('several trailers', []);
    transcript.protect(secretsOf(command));
    transcript.typed(shownOf(command));
    this.#scanner.takeTail();
    await this.#type(lineOf(command));
    const lines: string[] = [];
    const trailers: string[] = [];
    let questions = 0;
    let isDeclined = false;
    let isPasswordTyped = false;
    let wasAtPed = false;
    for (;;) {
      for (const line of this.#takeLines()) {
        const trailer = trailerOf(line, phrases);
        if (trailer !== undefined) trailers.push(trailer);
        else lines.push(line);
        if (trailer !== undefined || !phrases.pedWait.pattern.test(line)) continue;
        wasAtPed = true;
        transcript.noted('waits for people at the PED');
        this.#ports.onPed();
      }
      const { tail } = this.#scanner;
      const isAtPrompt = phrases.prompt.pattern.test(tail);
      if (trailers.length > 1) return this.#unknown('several trailers', lines);
      if (trailers.length === 1 && isAtPrompt) {
        if (isDeclined) return { outcome: 'declined', lines };
        const failure = failureOf(trailers[0]!, lines, phrases);
        return failure === undefined ? { outcome: 'done', lines, wasAtPed } : { outcome: 'failed', failure, lines };
      }
      if (questions < QUESTIONS_MAX && phrases.confirmation.pattern.test(tail)) {
        questions += 1;
        // An approval covers one question: a second one asks for something else.
        const goesOn = questions === 1 && (typeof isApproved === 'function' ? isApproved(lines) : isApproved);
        isDeclined ||= !goesOn;
        await this.#answer(goesOn ? 'proceed' : 'quit');
        continue;
      }
      // Asked for again, the password was wrong: it is never typed twice.
      if (command.prompted !== undefined && !isPasswordTyped && phrases.passwordPrompt.pattern.test(tail)) {
        isPasswordTyped = true;
        transcript.printed([this.#scanner.takeTail()]);
        await this.#type(command.prompted.expose((bytes) => Buffer.concat([bytes, LINE_FEED])));
        continue;
      }
      const isQuestion = isAtPrompt || phrases.anyPrompt.pattern.test(tail);
      const paceMs = wasAtPed ? limits.pedMs : this.#paceMs(command);
      const happened = await this.#next(isQuestion ? Math.min(limits.questionMs, paceMs) : paceMs);
      if (happened === 'output') continue;
      if (happened === 'ended') return this.#unknown('ended', [...lines, ...this.#takeLines()]);
      if (isAtPrompt) return this.#unknown('no trailer', lines);
      return this.#unknown(isQuestion ? 'question' : 'silent', lines);
    }
  }

  /**
   * Leaves the tool. Where its answers and the commands do not agree in number, no answer of this run is worth anything: a
   * label with a line break in it can look like the end of a command.
   */
  async close(): Promise<{ isSound: boolean }> {
    const { limits, phrases, process, transcript } = this.#ports;
    if (this.#isOver) return { isSound: false };
    const isLate = this.#hasSurplus();
    transcript.typed(shownOf(exit));
    this.#scanner.takeTail();
    await this.#type(lineOf(exit));
    process.endInput();
    while (this.#end === undefined) {
      if ((await this.#next(limits.commandMs)) !== 'silence') continue;
      this.#giveUp('it did not end');
      return { isSound: false };
    }
    this.#isOver = true;
    process.dispose();
    const isSurplus = this.#takeLines().some((line) => trailerOf(line, phrases) !== undefined);
    return { isSound: !isLate && !isSurplus };
  }

  /** Ends the tool at once, in whatever it does. Idempotent. */
  abandon(): void {
    if (!this.#isOver) this.#giveUp('it was abandoned');
  }

  #paceMs({ pace }: Command): number {
    const { limits } = this.#ports;
    return { command: limits.commandMs, cloning: limits.cloningMs, ped: limits.pedMs }[pace];
  }

  async #answer(word: 'proceed' | 'quit'): Promise<void> {
    const { transcript } = this.#ports;
    transcript.printed([this.#scanner.takeTail()]);
    transcript.typed(word);
    await this.#type(Buffer.from(`${word}\n`));
  }

  async #type(bytes: Buffer): Promise<void> {
    await this.#ports.process.write(bytes);
    bytes.fill(0);
  }

  #takeLines(): string[] {
    const lines = this.#scanner.take().map(withoutPrompts);
    this.#ports.transcript.printed(lines);
    return lines;
  }

  /** Output that no command asked for. Prompts are repeated without a reason, so that they do not count. */
  #hasSurplus(): boolean {
    return this.#takeLines().some((line) => line.trim() !== '');
  }

  #unknown(why: UnknownWhy, lines: readonly string[]): Reply {
    if (!this.#isOver) this.#giveUp(why);
    return { outcome: 'unknown', why, lines };
  }

  #giveUp(why: string): void {
    const { process, transcript } = this.#ports;
    this.#isOver = true;
    this.#takeLines();
    transcript.printed([this.#scanner.tail]);
    transcript.noted(`the run is given up: ${why}`);
    process.kill();
    process.dispose();
  }

  #tell(): void {
    this.#hasNews = true;
    this.#wake();
  }

  /** Waits for output or for the end of the tool, as long as it can be silent. */
  async #next(silentMs: number): Promise<Happened> {
    if (!this.#hasNews) {
      if (this.#end !== undefined) return 'ended';
      const over = new AbortController();
      const news = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([news, this.#ports.clock.sleep(silentMs, over.signal)]);
      over.abort();
      if (!this.#hasNews) return 'silence';
    }
    this.#hasNews = false;
    // Output that came with the end is read first: the next call reports the end.
    return 'output';
  }
}

const LINE_FEED = Buffer.from('\n');

/** How often a tool can ask before it counts as hanging in its questions. */
const QUESTIONS_MAX = 3;

const SILENT_AT_START =
  'If this client writes nothing until it ends (its output is buffered in blocks), say so with `buffering: block` in the profile of the driver. Otherwise check the links to the appliances.';
