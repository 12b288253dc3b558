/** The fence of an order: whose it is, and under which tenure. */
import { AntipodeError } from '@antipode/runtime';
import type { Fence } from '../gen/antipode/v1/types_pb.ts';

/** The server refuses a request whose fence is not whole before a handler sees it (validate.ts). @throws REQUEST_INVALID */
export function fenceOf(request: { readonly fence?: Fence | undefined }): Fence {
  if (request.fence === undefined)
    throw new AntipodeError('REQUEST_INVALID', 'fence is missing', { details: { field: 'fence' } });
  return request.fence;
}
