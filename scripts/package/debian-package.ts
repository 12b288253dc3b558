/** Control files, and the archive itself. Two builds of one commit give the same bytes with the same dpkg-deb. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './production-packages.ts';
import { place } from './stage.ts';

const SCRIPTS = ['postinst', 'prerm', 'postrm'] as const;

export interface Control {
  readonly version: string;
  readonly architecture: string;
  /** Folder of this repository that holds the maintainer scripts. */
  readonly scripts: string;
}

/** By the symbols that the locked Node asks for: glibc 2.28, and libstdc++ of GCC 5. */
const DEPENDS = 'libc6 (>= 2.28), libgcc-s1 (>= 3.4), libstdc++6 (>= 5.2), systemd (>= 250), util-linux';

export function writeControl(target: string, { version, architecture, scripts }: Control): void {
  const files = filesUnder(target);
  const kibibytes = Math.ceil(files.reduce((sum, path) => sum + lstatSync(join(target, path)).size, 0) / 1_024);
  const control = [
    'Package: antipode',
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    'Maintainer: The Antipode authors <antipode@localhost>',
    `Installed-Size: ${kibibytes}`,
    `Depends: ${DEPENDS}`,
    'Suggests: postgresql, redis-server, softhsm2',
    'Section: admin',
    'Priority: optional',
    'Description: disaster recovery for hardware security modules',
    ' Antipode keeps the keys of a PKCS#11 partition alive at several sites, proves',
    ' on a schedule that every key can be restored, and makes another site the',
    ' active one when a site is lost.',
    ' .',
    ' The package has the antipode command and the services antipode-agent,',
    ' antipode-witness and antipode-coordinator. None of them is started on',
    ' installation. It brings its own Node.',
  ];
  place(`${control.join('\n')}\n`, join(target, 'DEBIAN/control'));
  const sums = files
    .filter((path) => lstatSync(join(target, path)).isFile())
    .map(
      (path) =>
        `${createHash('md5')
          .update(readFileSync(join(target, path)))
          .digest('hex')}  ${path}`,
    );
  place(`${sums.join('\n')}\n`, join(target, 'DEBIAN/md5sums'));
  for (const name of SCRIPTS) place(readFileSync(join(scripts, name)), join(target, 'DEBIAN', name), true);
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => !path.startsWith('DEBIAN/'))
    .sort();
}

/** More than one thread would make the bytes depend on the number of cores. */
export function buildArchive(
  target: string,
  file: string,
  { epochSeconds, isQuick }: { epochSeconds: number; isQuick: boolean },
): void {
  const compression = isQuick ? ['-Znone'] : ['-Zxz', '-z6'];
  run('dpkg-deb', ['--root-owner-group', '--threads-max=1', ...compression, '--build', target, file], {
    env: { ...process.env, SOURCE_DATE_EPOCH: String(epochSeconds), TZ: 'UTC', LC_ALL: 'C' },
  });
}
