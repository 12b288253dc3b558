/** The texts of a build of the tool, as data. Each text has a mark: confirmed, indirect or recalled. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface DialectSettings {
  readonly prompt: string;
  /** Whether what is typed is printed where no terminal does it. */
  readonly echo: boolean;
  readonly carriageReturns: boolean;
  readonly colours: boolean;
  /** Between a name and its value. */
  readonly padding: string;
  readonly indent: string;
}

interface Text {
  readonly text: string;
  readonly mark: 'C' | 'I' | 'K';
  readonly source: string;
}

interface DialectFile {
  readonly extends?: string;
  readonly settings: Partial<DialectSettings>;
  readonly strings: Readonly<Record<string, Text>>;
}

export const DIALECTS = ['7.1', '7.2', '7.11', '10.7', 'hostile'] as const;

const folder = join(import.meta.dirname, 'dialects');

export class Dialect {
  readonly settings: DialectSettings;
  readonly strings: Readonly<Record<string, Text>>;
  /** The texts that were printed, so that a test can count how many of them nobody has confirmed. */
  readonly used = new Set<string>();

  private constructor(settings: DialectSettings, strings: Readonly<Record<string, Text>>) {
    this.settings = settings;
    this.strings = strings;
  }

  static read(name: string, overrides: Partial<DialectSettings> = {}): Dialect {
    const { settings, strings } = read(name);
    return new Dialect({ ...(settings as DialectSettings), ...overrides }, strings);
  }

  text(key: string, values: Readonly<Record<string, string | number>> = {}): string {
    const found = this.strings[key];
    if (found === undefined) throw new Error(`the dialect has no text ${key}`);
    this.used.add(key);
    return found.text.replaceAll(/\{(\w+)\}/g, (_all, name: string) => {
      const value = values[name];
      if (value === undefined) throw new Error(`the text ${key} needs a value for ${name}`);
      return String(value);
    });
  }
}

function read(name: string): DialectFile {
  const file = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as DialectFile;
  if (file.extends === undefined) return file;
  const base = read(file.extends);
  return { settings: { ...base.settings, ...file.settings }, strings: { ...base.strings, ...file.strings } };
}
