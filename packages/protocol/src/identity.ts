/**
 * Who a process is (SPIFFE id in its certificate) and which methods it may call. The table is the whole truth about
 * access: a method that is not in it is refused to everybody.
 */
import { AntipodeError } from '@antipode/runtime';

export type IdentityKind = 'site' | 'coordinator' | 'operator';

export interface Identity {
  readonly trustDomain: string;
  readonly kind: IdentityKind;
  readonly name: string;
}

const FORM = /^spiffe:\/\/([a-z0-9.-]{1,255})\/(site|coordinator|operator)\/([a-z0-9][a-z0-9-]{0,62})$/;

/** Parses `spiffe://<trust domain>/<kind>/<name>`; undefined where it is none of ours. */
export function parseIdentity(uri: string): Identity | undefined {
  const match = FORM.exec(uri);
  return match === null ? undefined : { trustDomain: match[1]!, kind: match[2] as IdentityKind, name: match[3]! };
}

export const identityUri = ({ trustDomain, kind, name }: Identity): string => `spiffe://${trustDomain}/${kind}/${name}`;

/** The identity in a certificate's subject alternative names; there must be exactly one URI. */
export function identityFromNames(subjectAltName: string | undefined): Identity | undefined {
  const uris = (subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  return uris.length === 1 ? parseIdentity(uris[0]!.slice('URI:'.length)) : undefined;
}

const COORDINATOR: readonly IdentityKind[] = ['coordinator'];
const SITE: readonly IdentityKind[] = ['site'];
const OPERATOR: readonly IdentityKind[] = ['operator'];

export const MAY_CALL: Readonly<Record<string, readonly IdentityKind[]>> = {
  'SiteAgentService/Describe': COORDINATOR,
  'SiteAgentService/ProbePeer': COORDINATOR,
  'SiteAgentService/Ping': ['coordinator', 'site'],
  'SiteAgentService/SetRole': COORDINATOR,
  'SiteAgentService/Promote': COORDINATOR,
  'SiteAgentService/DistributeDomainKey': COORDINATOR,
  'SiteAgentService/Capture': COORDINATOR,
  'SiteAgentService/Apply': COORDINATOR,
  'SiteAgentService/Verify': COORDINATOR,
  'SiteAgentService/Drill': COORDINATOR,
  'SiteAgentService/BeginExchange': SITE,
  'SiteAgentService/CompleteExchange': SITE,
  'SiteAgentService/PullManifest': SITE,
  'SiteAgentService/PullBlobs': SITE,
  'CoordinatorService/Heartbeat': SITE,
  'OperatorService/CreateGroup': OPERATOR,
  'OperatorService/ListGroups': OPERATOR,
  'OperatorService/GetGroup': OPERATOR,
  'OperatorService/GetStatus': OPERATOR,
  'OperatorService/RotateDomainKey': OPERATOR,
  'OperatorService/Replicate': OPERATOR,
  'OperatorService/RunDrill': OPERATOR,
  'OperatorService/ListDrills': OPERATOR,
  'OperatorService/PlanFailover': OPERATOR,
  'OperatorService/Failover': OPERATOR,
  'OperatorService/GetOperation': OPERATOR,
  'OperatorService/Resolve': OPERATOR,
};

/** @throws PEER_REFUSED */
export function authorise(caller: Identity | undefined, { method, trustDomain }: { method: string; trustDomain: string }): Identity {
  const allowed = Object.hasOwn(MAY_CALL, method) ? MAY_CALL[method]! : [];
  if (caller !== undefined && caller.trustDomain === trustDomain && allowed.includes(caller.kind)) return caller;
  const who = caller === undefined ? 'a certificate without an identity' : identityUri(caller);
  throw new AntipodeError('PEER_REFUSED', `${who} may not call ${method}, expected ${allowed.join(' or ') || 'nobody'} of ${trustDomain}`, { details: { method } });
}
