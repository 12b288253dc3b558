/** The contents of the package, for programs (CycloneDX 1.6) and for people (Debian's copyright file, with every licence). */
import { createHash } from 'node:crypto';
import type { ProductionPackage } from './production-packages.ts';

export interface Release {
  readonly version: string;
  readonly commit: string;
  readonly epochSeconds: number;
  readonly architecture: string;
}

/** An SPDX expression has its own place. */
const licenceOf = (license: string) =>
  /\s|\(/.test(license) ? [{ expression: license.replace(/^\((.*)\)$/, '$1') }] : [{ license: { id: license } }];

const purlOf = ({ name, version }: ProductionPackage): string => `pkg:npm/${name.replace('@', '%40')}@${version}`;

export function billOfMaterials(release: Release, packages: readonly ProductionPackage[]): string {
  const { version, commit, epochSeconds, architecture } = release;
  const root = `pkg:deb/antipode@${version}?arch=${architecture}`;
  // The same package twice in one tree is one component.
  const components = [...new Map(packages.map((one) => [purlOf(one), one])).entries()].map(([purl, one]) => {
    const isScoped = one.name.startsWith('@');
    const [group, name] = isScoped ? one.name.split('/') : [undefined, one.name];
    return {
      type: 'library',
      'bom-ref': purl,
      ...(group === undefined ? {} : { group }),
      name,
      version: one.version,
      hashes: [
        { alg: 'SHA-512', content: Buffer.from(one.integrity.replace(/^sha512-/, ''), 'base64').toString('hex') },
      ],
      licenses: licenceOf(one.license),
      purl,
      scope: 'required',
    };
  });
  const body = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: new Date(epochSeconds * 1_000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': root,
        name: 'antipode',
        version,
        licenses: [{ license: { id: 'Apache-2.0' } }],
        purl: root,
        properties: [{ name: 'antipode:commit', value: commit }],
      },
    },
    components,
    dependencies: [
      { ref: root, dependsOn: components.map(({ purl }) => purl) },
      ...components.map(({ purl }) => ({ ref: purl })),
    ],
  };
  const { bomFormat, specVersion, ...rest } = body;
  return `${JSON.stringify({ bomFormat, specVersion, serialNumber: `urn:uuid:${uuidOf(body)}`, ...rest }, null, 2)}\n`;
}

/** The same contents have the same number, in the form of a UUID of version 8 (RFC 9562). */
function uuidOf(body: unknown): string {
  const digest = createHash('sha256').update(JSON.stringify(body)).digest();
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x80;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  const hex = digest.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

/** Debian's machine-readable form, version 1.0. A text that several packages share is printed once for each name. */
export function copyrightFile(
  packages: readonly ProductionPackage[],
  { texts, own }: { texts: ReadonlyMap<string, readonly string[]>; own: string },
): string {
  const header = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: antipode

Files: *
Copyright: The Antipode authors
License: Apache-2.0
${indented(own)}`;
  const stanzas = packages.map(({ path, name, version, license }) => {
    const text = (texts.get(path) ?? []).join('\n\n').trim();
    return `Files: usr/lib/antipode/${path}/*
Copyright: The authors of ${name}
License: ${license
      .replace(/^\((.*)\)$/, '$1')
      .replaceAll(' AND ', ' and ')
      .replaceAll(' OR ', ' or ')}
Comment: ${name} ${version}
${indented(text === '' ? `The package holds no text of its licence (${license}).` : text)}`;
  });
  return `${[header, ...stanzas].join('\n\n')}\n`;
}

/** Lines of a field of a control file: one blank in front, and a dot for an empty line. */
const indented = (text: string): string =>
  text
    .trim()
    .split(/\r?\n/)
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n');
