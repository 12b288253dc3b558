/**
 * The identity of a process (SPIFFE id in its certificate), and the methods that it may call. The table is the whole
 * truth about access: a method that is not in it is refused to everybody.
 */
import { AntipodeError } from '@antipode/runtime';
import { NAME } from '../convert/names.ts';

export type IdentityKind = 'site' | 'coordinator' | 'operator' | 'application';

/** A process or a person, as an authority of its trust domain has certified it. */
export interface Identity {
  readonly trustDomain: string;
  readonly kind: IdentityKind;
  readonly name: string;
}

const FORM = new RegExp(`^spiffe://([a-z0-9.-]{1,255})/(site|coordinator|operator|application)/(${NAME})$`);

/** Parses `spiffe://<trust domain>/<kind>/<name>`; undefined where it is none of ours. */
export function parseIdentity(uri: string): Identity | undefined {
  const match = FORM.exec(uri);
  return match === null ? undefined : { trustDomain: match[1]!, kind: match[2] as IdentityKind, name: match[3]! };
}

export const identityUri = ({ trustDomain, kind, name }: Identity): string => `spiffe://${trustDomain}/${kind}/${name}`;

/** A name as Node prints it: plain, or quoted like JSON where it holds a character that could pass for a separator. */
const ALTERNATIVE_NAME = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/gy;

/**
 * The identity in a certificate's subject alternative names, in the form that Node gives them. There must be exactly one
 * URI. The whole text is read, since a DNS name may hold `, URI:spiffe://...` inside quotes.
 */
export function identityFromNames(subjectAltName: string | undefined): Identity | undefined {
  const text = subjectAltName ?? '';
  const uris: string[] = [];
  let read = 0;
  for (const [whole, type, value] of text.matchAll(ALTERNATIVE_NAME)) {
    read += whole.length;
    if (type === 'URI') uris.push(value!);
  }
  return read === text.length && uris.length === 1 ? parseIdentity(uris[0]!) : undefined;
}

/** The identity at the other end of a call; undefined if its certificate has no identity of ours. */
export function identityOf(call: {
  getAuthContext(): { sslPeerCertificate?: { subjectaltname?: string } };
}): Identity | undefined {
  return identityFromNames(call.getAuthContext().sslPeerCertificate?.subjectaltname);
}

const COORDINATOR: readonly IdentityKind[] = ['coordinator'];
const SITE: readonly IdentityKind[] = ['site'];
const OPERATOR: readonly IdentityKind[] = ['operator'];
/** Applications only ask: where they must go, and how things are. */
const APPLICATION: readonly IdentityKind[] = ['application', 'operator'];

/** By `Service/Method`. Orders come from the coordinator, sealed data only from and to sites, everything else from people. */
export const MAY_CALL: Readonly<Record<string, readonly IdentityKind[]>> = {
  'SiteAgentService/Describe': COORDINATOR,
  'SiteAgentService/ProbePeer': COORDINATOR,
  'SiteAgentService/Ping': ['coordinator', 'site'],
  'SiteAgentService/SetRole': COORDINATOR,
  'SiteAgentService/PersistEpoch': COORDINATOR,
  'SiteAgentService/Reseat': COORDINATOR,
  'SiteAgentService/Promote': COORDINATOR,
  'SiteAgentService/DistributeDomainKey': COORDINATOR,
  'SiteAgentService/Capture': COORDINATOR,
  'SiteAgentService/Apply': COORDINATOR,
  'SiteAgentService/Verify': COORDINATOR,
  'SiteAgentService/Drill': COORDINATOR,
  'SiteAgentService/Archive': COORDINATOR,
  'SiteAgentService/Scrub': COORDINATOR,
  'SiteAgentService/RetireDomainKeys': COORDINATOR,
  'SiteAgentService/OfferDivergence': COORDINATOR,
  'SiteAgentService/MergeDivergence': COORDINATOR,
  'SiteAgentService/MatchFilter': COORDINATOR,
  'SiteAgentService/TellGroups': COORDINATOR,
  'SiteAgentService/CancelOrder': COORDINATOR,
  'SiteAgentService/BeginExchange': SITE,
  'SiteAgentService/CompleteExchange': SITE,
  'SiteAgentService/PullManifest': SITE,
  'SiteAgentService/PullBlobs': SITE,
  'SiteAgentService/ReportStanding': SITE,
  'SiteAgentService/Vouch': SITE,
  'CoordinatorService/Heartbeat': SITE,
  'CoordinatorService/GetLeader': ['site', 'operator', 'application'],
  'OperatorService/CreateGroup': OPERATOR,
  'OperatorService/PlanGroupChange': OPERATOR,
  'OperatorService/ChangeGroup': OPERATOR,
  'OperatorService/MatchRules': OPERATOR,
  'OperatorService/ListGroups': OPERATOR,
  'OperatorService/GetGroup': OPERATOR,
  'OperatorService/GetStatus': APPLICATION,
  'OperatorService/RotateDomainKey': OPERATOR,
  'OperatorService/SetDistributor': OPERATOR,
  'OperatorService/Replicate': OPERATOR,
  'OperatorService/GetGeneration': OPERATOR,
  'OperatorService/RunDrill': OPERATOR,
  'OperatorService/ListDrills': OPERATOR,
  'OperatorService/RunArchive': OPERATOR,
  'OperatorService/ListArchives': OPERATOR,
  'OperatorService/RunScrub': OPERATOR,
  'OperatorService/RunDivergence': OPERATOR,
  'OperatorService/PlanFailover': OPERATOR,
  'OperatorService/Failover': OPERATOR,
  'OperatorService/GetOperation': OPERATOR,
  'OperatorService/ListOperations': OPERATOR,
  'OperatorService/DismissOperation': OPERATOR,
  'OperatorService/CancelOperation': OPERATOR,
  'OperatorService/PlanReseat': OPERATOR,
  'OperatorService/ReseatGroup': OPERATOR,
  'OperatorService/PauseAutomation': OPERATOR,
  'OperatorService/ResumeAutomation': OPERATOR,
  'OperatorService/SubmitApproval': OPERATOR,
  'OperatorService/ListApprovals': OPERATOR,
  'OperatorService/Resolve': APPLICATION,
  'ResolverService/LastKnown': APPLICATION,
  'ResolverService/OwnAccount': OPERATOR,
};

/**
 * Lets a caller of our own trust domain through to a method of its table row. Called before a handler sees the request.
 * @throws PEER_REFUSED
 */
export function authorise(
  caller: Identity | undefined,
  { method, trustDomain }: { method: string; trustDomain: string },
): Identity {
  const allowed = Object.hasOwn(MAY_CALL, method) ? MAY_CALL[method]! : [];
  if (caller !== undefined && caller.trustDomain === trustDomain && allowed.includes(caller.kind)) return caller;
  const who = caller === undefined ? 'a certificate without an identity' : identityUri(caller);
  throw new AntipodeError(
    'PEER_REFUSED',
    `${who} must not call ${method}, expected ${allowed.join(' or ') || 'nobody'} of ${trustDomain}`,
    { details: { method } },
  );
}
