/** Network addresses in configurations and orders: `host:port`, `192.0.2.1:7400` or `[2001:db8::1]:7400`. */

/** A name or IPv4 address, or an IPv6 address in brackets; then the port. */
export const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):(\d{1,5})$/;
export const ADDRESS_EXPECTED = 'expected host:port, such as localhost:7400 or [::1]:7400';

const PORT_MAX = 65_535;

/** Host as sockets take it, without brackets; undefined if the text is not an address. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const [, host, port] = ADDRESS.exec(text) ?? [];
  if (host === undefined || Number(port) > PORT_MAX) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

export const isAddress = (text: string): boolean => parseAddress(text) !== undefined;
