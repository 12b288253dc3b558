/** The report for people. */
import { table } from '@antipode/cli/testing';
import type { FullFigure, Report } from './report.ts';

const ms = (value: number | null): string => (value === null ? '-' : `${Math.round(value)} ms`);
const times = (value: number | null): string => (value === null ? '-' : `${value} x`);
const met = (value: boolean | null): string => (value === null ? 'not measured' : value ? 'met' : 'missed');

export function reportTable(report: Report): string {
  const { figures, machine, versions, commit, load } = report;
  const { full, fullOnDisk, aes, unchanged, newKey, sites, memory, move, history, native, scale, dashboard } = figures;
  const rows: string[][] = [];
  const addFull = (name: string, figure: FullFigure | undefined): void => {
    if (figure === undefined) return;
    const { keys, oursMs, floorMs, ratio, target, isMet } = figure;
    rows.push([`${name}, ${keys} keys`, ms(oursMs), ms(floorMs), times(ratio), `<= ${target} x`, met(isMet)]);
  };
  addFull('full replication', full);
  addFull('full replication on disk', fullOnDisk);
  if (aes !== undefined) {
    const { keys, oursMs, floorMs, ratio, script, timesAsFast, target, isMet } = aes;
    rows.push([`full replication, ${keys} AES keys`, ms(oursMs), ms(floorMs), times(ratio), '', '']);
    const name = `the same against pkcs11-tool (${script.sampledKeys} keys, scaled)`;
    rows.push([name, ms(oursMs), ms(script.scaledMs), `1/${timesAsFast}`, `>= ${target} x as fast`, met(isMet)]);
  }
  if (unchanged !== undefined) {
    const { keys, oursMs, passMs, ratio, target, isMet } = unchanged;
    rows.push([`unchanged round, ${keys} keys`, ms(oursMs), ms(passMs), times(ratio), `<= ${target} x`, met(isMet)]);
  }
  if (newKey !== undefined) {
    const { keys, oursMs, passMs, limitMs, isMet } = newKey;
    rows.push([`one new key, ${keys} keys`, ms(oursMs), ms(passMs), '', `<= ${ms(limitMs)}`, met(isMet)]);
  }
  if (sites !== undefined) {
    const { keys, rttMs, withoutMs, delayedMs, ratio, target, isMet } = sites;
    const name = `two agents, ${keys} keys, round trip ${rttMs} ms`;
    rows.push([name, ms(delayedMs), ms(withoutMs), times(ratio), `<= ${target} x`, met(isMet)]);
  }
  if (memory !== undefined) {
    const { keys, activeMiB, standbyMiB, activePeakMiB, standbyPeakMiB, target, isMet } = memory;
    const both = `${activeMiB} / ${standbyMiB} MiB`;
    const peaks = `peaks ${activePeakMiB} / ${standbyPeakMiB} MiB`;
    rows.push([`agents without workers, ${keys} keys`, both, peaks, '', `< ${target} MiB`, met(isMet)]);
  }
  if (move !== undefined) {
    const { keys, sourceMiB, destinationMiB, target, isMet } = move;
    const both = `+${sourceMiB.after} / +${destinationMiB.after} MiB`;
    const peaks = `peaks +${sourceMiB.peak} / +${destinationMiB.peak} MiB`;
    rows.push([`moving a generation, ${keys} keys`, both, peaks, '', `< +${target} MiB`, met(isMet)]);
  }
  if (history !== undefined) {
    const { days, oursMs, emptyMs, ratio, target, isMet } = history;
    const [ours, empty] = [oursMs, emptyMs].map((value) => `${value} ms`);
    rows.push([`planner's look, ${days} days of history`, ours!, empty!, times(ratio), `<= ${target} x`, met(isMet)]);
  }
  if (native !== undefined) {
    const { keys, oursMs, floorMs, ratio, bare, target, isMet } = native;
    const name = `${keys} keys cloned natively, beside cp -a and a use of each`;
    rows.push([name, ms(oursMs), ms(floorMs), times(ratio), `<= ${target} x`, met(isMet)]);
    if (bare !== null) {
      const bareMs = bare.takeMs + bare.placeMs;
      rows.push([
        'the calls that its promises need, in C, and the same uses',
        ms(bareMs),
        '',
        times(bare.ratio),
        '',
        '',
      ]);
    }
  }
  if (scale !== undefined) {
    const { groups, sites: count, members, steady, loss, targetCores, targetMiB, isMet } = scale;
    const name = `coordinator of ${groups} groups of ${members} members at ${count} sites`;
    const ours = `${steady.coordinatorCores} cores, ${steady.coordinatorMiB} MiB`;
    const beside = `PostgreSQL ${steady.postgresCores} cores, ${steady.statementsPerSecond} statements/s`;
    rows.push([name, ours, beside, '', `<= ${targetCores} cores, ${targetMiB} MiB`, met(isMet)]);
    if (loss !== undefined) {
      const served = `served after ${ms(loss.servedMs.median)} (last ${ms(loss.servedMs.last)})`;
      const cost = `${loss.cost.coordinatorCores} cores, at most ${loss.coordinatorCoresMax}`;
      rows.push([`${loss.sites} sites lost, active for ${loss.groups} groups`, served, cost, '', '', '']);
      rows.push([
        'the same sites return',
        `all stand by after ${ms(loss.backMs)}`,
        `${loss.backCost.coordinatorCores} cores`,
        '',
        '',
        '',
      ]);
    }
  }
  if (dashboard !== undefined) {
    const { groups, firstPaintMs, compressedBytes, serverCore, pageCore, browserCore, isMet } = dashboard;
    const name = `dashboard of ${groups} groups that change every second`;
    const ours = `first paint ${ms(firstPaintMs)}, ${compressedBytes} bytes`;
    const cores = `server ${serverCore}, browser ${browserCore} (page ${pageCore}) cores`;
    const { targetPaintMs, targetBytes, targetCore } = dashboard;
    rows.push([name, ours, cores, '', `< ${targetPaintMs} ms, ${targetBytes} bytes, ${targetCore} cores`, met(isMet)]);
  }
  const lines = [
    table(['measured', 'ours', 'beside it', 'ratio', 'target', ''], rows),
    '',
    `${machine.cores} cores (${machine.cpu}), ${machine.memoryGiB} GiB, ${machine.distribution}, kernel ${machine.kernel}`,
    `node ${versions.node}, SoftHSM ${versions.softhsm}, OpenSC ${versions.opensc}, ${versions.compiler ?? 'no C compiler'}`,
    `commit ${commit.hash ?? 'unknown'}${commit.isChanged ? ', with changes' : ''}; ${report.rounds} rounds, medians; load ${load.before} before, ${load.after} after`,
    ...report.notes.map((note) => `note: ${note}`),
  ];
  return lines.join('\n');
}
