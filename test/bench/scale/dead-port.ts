/** A port that accepts connections and never answers. */
import { createServer, type Server, type Socket } from 'node:net';

export class DeadPort {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
  }

  static async open(port: number): Promise<DeadPort> {
    const dead = new DeadPort();
    await new Promise<void>((resolve) => dead.#server.listen(port, '127.0.0.1', resolve));
    return dead;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
