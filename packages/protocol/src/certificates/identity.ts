/**
 * The identity of a process (SPIFFE id in its certificate), and the methods that it may call. The table is the whole
 * truth about access: a method that is not in it is refused to everybody.
 */
import { AntipodeError } from '@antipode/runtime';
import { NAME } from '../convert/names.ts';

export type IdentityKind = 'site' | 'coordinator' | 'operator' | 'application';

/** The roles of operators. Each one may do what the ones before it may. */
export const OPERATOR_ROLES = ['viewer', 'operator', 'security'] as const;
export type OperatorRole = (typeof OPERATOR_ROLES)[number];

/** A process or a person, as an authority of its trust domain has certified it. */
export interface Identity {
  readonly trustDomain: string;
  readonly kind: IdentityKind;
  readonly name: string;
  /** Of operators only. A certificate from before there were roles does not name one. */
  readonly role?: OperatorRole;
}

const FORM = new RegExp(
  `^spiffe://([a-z0-9.-]{1,255})/(?:(site|coordinator|operator|application)/(${NAME})|operator/(${NAME})/(${OPERATOR_ROLES.join('|')}))$`,
);

/** Parses `spiffe://<trust domain>/<kind>/<name>`, behind which an operator has a role; undefined where it is none of ours. */
export function parseIdentity(uri: string): Identity | undefined {
  const match = FORM.exec(uri);
  if (match === null) return undefined;
  const [, trustDomain = '', kind, name, operator, role] = match;
  return role === undefined
    ? { trustDomain, kind: kind as IdentityKind, name: name! }
    : { trustDomain, kind: 'operator', name: operator!, role: role as OperatorRole };
}

export const identityUri = ({ trustDomain, kind, name, role }: Identity): string =>
  `spiffe://${trustDomain}/${kind}/${name}${role === undefined ? '' : `/${role}`}`;

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

/** A caller in a row of the table: a kind of process, or the lowest role of an operator. */
export type Caller = Exclude<IdentityKind, 'operator'> | OperatorRole | typeof WITHOUT_ROLE;

/**
 * An operator whose certificate has no role may do what every operator could before there were roles: the methods of
 * role `operator`, and those whose row names this caller.
 */
const WITHOUT_ROLE = 'without-role';

const COORDINATOR: readonly Caller[] = ['coordinator'];
const SITE: readonly Caller[] = ['site'];
const VIEWER: readonly Caller[] = ['viewer'];
const OPERATOR: readonly Caller[] = ['operator'];
/** A method that is added for role `security` does not go to certificates without a role. */
const APPROVALS: readonly Caller[] = ['security', WITHOUT_ROLE];
/** Whoever makes a token makes a site. */
const SECURITY: readonly Caller[] = ['security'];
/** Applications only ask: where they must go, and how things are. */
const APPLICATION: readonly Caller[] = ['application', 'viewer'];

/** By `Service/Method`. Orders come from the coordinator, sealed data only from and to sites, everything else from people. */
export const MAY_CALL: Readonly<Record<string, readonly Caller[]>> = {
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
  'CoordinatorService/GetLeader': ['site', 'viewer', 'application'],
  'CertificateService/RenewCertificate': ['site', 'viewer', 'application'],
  'RevocationService/GetRevocations': APPLICATION,
  'RevocationService/SubmitRevocations': SECURITY,
  'RevocationService/ExchangeRevocations': SITE,
  'OperatorService/CreateGroup': OPERATOR,
  'OperatorService/PlanGroupChange': VIEWER,
  'OperatorService/ChangeGroup': OPERATOR,
  'OperatorService/MatchRules': OPERATOR,
  'OperatorService/ListGroups': VIEWER,
  'OperatorService/GetGroup': VIEWER,
  'OperatorService/GetStatus': APPLICATION,
  'OperatorService/RotateDomainKey': OPERATOR,
  'OperatorService/SetDistributor': OPERATOR,
  'OperatorService/Replicate': OPERATOR,
  'OperatorService/GetGeneration': VIEWER,
  'OperatorService/RunDrill': OPERATOR,
  'OperatorService/ListDrills': VIEWER,
  'OperatorService/RunArchive': OPERATOR,
  'OperatorService/ListArchives': VIEWER,
  'OperatorService/RunScrub': OPERATOR,
  'OperatorService/RunDivergence': OPERATOR,
  'OperatorService/PlanFailover': VIEWER,
  'OperatorService/Failover': OPERATOR,
  'OperatorService/GetOperation': VIEWER,
  'OperatorService/ListOperations': VIEWER,
  'OperatorService/DismissOperation': OPERATOR,
  'OperatorService/CancelOperation': OPERATOR,
  'OperatorService/PlanReseat': VIEWER,
  'OperatorService/ReseatGroup': OPERATOR,
  'OperatorService/PauseAutomation': OPERATOR,
  'OperatorService/ResumeAutomation': OPERATOR,
  'OperatorService/SubmitApproval': APPROVALS,
  'OperatorService/ListApprovals': VIEWER,
  'OperatorService/CreateSiteToken': SECURITY,
  'OperatorService/ListSiteTokens': VIEWER,
  'OperatorService/RevokeSiteToken': SECURITY,
  'OperatorService/ForgetSite': SECURITY,
  'OperatorService/ReadmitSite': SECURITY,
  'OperatorService/Resolve': APPLICATION,
  'OperatorService/ListNotices': VIEWER,
  'OperatorService/TestReceivers': OPERATOR,
  'OperatorService/ListEvents': VIEWER,
  'ResolverService/LastKnown': APPLICATION,
  'ResolverService/OwnAccount': VIEWER,
};

/** Whether a row admits a caller, by its kind or by its role. */
function admits(row: readonly Caller[], { kind, role }: Identity): boolean {
  if (kind !== 'operator') return row.includes(kind);
  if (role === undefined && row.includes(WITHOUT_ROLE)) return true;
  return OPERATOR_ROLES.slice(0, OPERATOR_ROLES.indexOf(role ?? 'operator') + 1).some((one) => row.includes(one));
}

/**
 * Lets a caller of our own trust domain through to a method of its table row. Called before a handler sees the request.
 * @throws PEER_REFUSED, OPERATOR_ROLE_INSUFFICIENT if another operator may call it
 */
export function authorise(
  caller: Identity | undefined,
  { method, trustDomain }: { method: string; trustDomain: string },
): Identity {
  const row = Object.hasOwn(MAY_CALL, method) ? MAY_CALL[method]! : [];
  const isOurs = caller !== undefined && caller.trustDomain === trustDomain;
  if (isOurs && admits(row, caller)) return caller;
  const needed = OPERATOR_ROLES.find((role) => row.includes(role));
  if (isOurs && caller.kind === 'operator' && needed !== undefined) {
    const { name, role } = caller;
    throw new AntipodeError(
      'OPERATOR_ROLE_INSUFFICIENT',
      `${method} needs an operator with role ${needed}; the certificate of ${name} has ${role === undefined ? 'no role' : `role ${role}`}`,
      { details: { method, needed, role: role ?? '' } },
    );
  }
  const who = caller === undefined ? 'a certificate without an identity' : identityUri(caller);
  const allowed = [...new Set(row.map((one) => (KINDS.has(one) ? one : 'operator')))].join(' or ');
  throw new AntipodeError(
    'PEER_REFUSED',
    `${who} must not call ${method}, expected ${allowed || 'nobody'} of ${trustDomain}`,
    { details: { method } },
  );
}

const KINDS: ReadonlySet<Caller> = new Set(['site', 'coordinator', 'application']);
