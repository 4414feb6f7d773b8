// Stands in for the collector: takes what players and the SDK post, answers as told, and keeps every body as it came.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Posted {
  path: string;
  query: URLSearchParams;
  contentType: string;
  body: string;
  atMs: number;
}

export interface Recorder {
  url: string;
  posted: Posted[];
  close(): void;
}

/** As the collector answers. Not 202 to CMCD: Shaka Player takes it for "not yet" and sends the line again. */
const answerTo = ({ path }: Posted): number => (path === '/v1/cmcd' ? 204 : 202);

/** `status`: what a request is answered with. */
export async function record(status: (posted: Posted) => number = answerTo): Promise<Recorder> {
  const posted: Posted[] = [];
  const server = createServer((request, response) => {
    const cors = {
      'access-control-allow-origin': request.headers.origin ?? '*',
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': 'content-type',
      'access-control-max-age': '3600',
    };
    if (request.method === 'OPTIONS') return void response.writeHead(200, cors).end();
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
      const one: Posted = {
        path: pathname,
        query: searchParams,
        contentType: request.headers['content-type'] ?? '',
        body: Buffer.concat(chunks).toString(),
        atMs: Date.now(),
      };
      posted.push(one);
      const code = status(one);
      response.writeHead(code, { ...cors, 'content-type': 'application/json' }).end(code === 204 ? undefined : '{"accepted":1}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posted,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
