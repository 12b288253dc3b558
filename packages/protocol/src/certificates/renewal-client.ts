/**
 * Asks for a renewal at every coordinator of a configuration, in turn, until one signs. Any coordinator may hold the
 * issuer, whether it leads or not.
 */
import { AntipodeError, hasCode } from '@antipode/runtime';
import type { CallOptions, Client } from '../client.ts';
import { CertificateService } from '../gen/antipode/v1/certificate_pb.ts';
import type { CoordinatorAddress } from '../leader/coordinators.ts';

type Renewing = Pick<Client<typeof CertificateService>, 'renewCertificate' | 'close'>;

/**
 * @param dial makes a connection to one of them; it is closed afterwards
 * @throws ISSUER_MISSING if every coordinator that answers holds none, else what the first one said that could sign
 */
export async function renewedByAny(
  requestPem: string,
  {
    coordinators,
    dial,
    ...options
  }: CallOptions & {
    coordinators: readonly CoordinatorAddress[];
    dial: (service: typeof CertificateService, coordinator: CoordinatorAddress) => Renewing;
  },
): Promise<string> {
  const errors: AntipodeError[] = [];
  for (const coordinator of coordinators) {
    const client = dial(CertificateService, coordinator);
    try {
      return (await client.renewCertificate({ requestPem }, options)).certificatePem;
    } catch (thrown) {
      errors.push(AntipodeError.from(thrown));
    } finally {
      client.close();
    }
  }
  throw (
    errors.find((error) => !hasCode(error, 'ISSUER_MISSING', 'SITE_UNREACHABLE', 'TIMED_OUT')) ??
    errors.find((error) => hasCode(error, 'ISSUER_MISSING')) ??
    errors[0] ??
    new AntipodeError('SITE_UNREACHABLE', 'the configuration names no coordinator to ask for a renewal')
  );
}
