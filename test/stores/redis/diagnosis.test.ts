import { Cluster, Redis } from 'ioredis'
import { EventEmitter, once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../../lib/index.ts'
import { commandsOf } from '../../../lib/stores/redis/topology.ts'
import { placeOf, rememberErrors, whyLost } from '../../../lib/stores/redis/diagnosis.ts'
import type { RedisClient } from '../../../lib/types.ts'
import { systemClock } from '../../../lib/time.ts'
import { ownPrefix } from '../../support/app.ts'
import { asRedis, GIVEN_CLIENTS, givenClient, isUnavailable, listenersOf, Rig, type GivenClient } from '../../support/outage.ts'
import { freePort } from '../../support/ports.ts'
import { eventually } from '../../support/redis.ts'
import { isThorough, runs } from '../../support/runs.ts'
import { selfSigned, startTlsRedis } from '../../support/tls.ts'

// Most of them wait.
t.jobs = 12

/** So long that a busy machine shakes hands within it. */
const PATIENCE = 2500

const PASSWORD = 'hunter2'
const { server, tlsPort, cert } = await startTlsRedis(t, ['--tls-auth-clients', 'no', '--requirepass', 'secret'])
const { tlsPort: strictPort, cert: strictCert } = await startTlsRedis(t)
const { port: plain } = server
const admin = new Redis(server.port, '127.0.0.1', { password: 'secret' })
await admin.call('acl', 'setuser', 'zero', 'on', '>secret', '~*', '+@all', '-select')
t.teardown(() => admin.disconnect())
const closed = await freePort()
const silent = await listening(t, createServer((socket) => { socket.on('error', () => {}) }))
const web = await listening(t, createServer((socket) => { socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') }))
const other = selfSigned(t).cert

async function listening (t: { after (teardown: () => unknown): unknown }, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const open = new Set<{ destroy (): void }>()
  server.on('connection', (socket) => open.add(socket))
  t.after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const at = (port: number, more: object = {}) => ({ host: '127.0.0.1', port, password: PASSWORD, ...more })
/** A given client may be looked at while it tries again. */
const says = (port: number, what: string) => new RegExp(`^127\\.0\\.0\\.1:${port}: (?:.*; an attempt before failed: )?${what}(?:; an attempt before failed: .*)?$`)
const WANTS_TLS = '\\(does the port speak TLS\\? Then use rediss://, or option tls\\)'
const SPEAKS_TLS = '\\(does the port speak TLS\\? If not, use redis://\\)'

/** What is wrong, and what the line of the log says of it at its end. A given client shows as much, but for `own`. */
const CAUSES: Record<string, { redis: Exclude<RevocationOptions['redis'], string | undefined>, said: RegExp, own?: true }> = {
  'a closed port': { redis: at(closed), said: says(closed, `connect ECONNREFUSED 127\\.0\\.0\\.1:${closed} \\(nothing listens there: check host and port\\)`) },
  'a name that nobody knows': {
    redis: { ...at(6379), host: 'nowhere.invalid' },
    said: /^nowhere\.invalid:6379: (?:.*; an attempt before failed: )?getaddrinfo (?:ENOTFOUND nowhere\.invalid \(the name is not known: check the host\)|EAI_AGAIN nowhere\.invalid \(the name server does not answer\))$/
  },
  'a socket that is not there': { redis: { path: '/nowhere/redis.sock' }, said: /^\/nowhere\/redis\.sock: connect ENOENT \/nowhere\/redis\.sock \(there is no such socket\)$/ },
  'TLS against a port without it': {
    redis: at(plain, { tls: {} }),
    // An odd byte of the greeting can make Redis answer.
    said: says(plain, `(?:the connection is open, and the other side says nothing to TLS|.*wrong version number.*) ${SPEAKS_TLS}`)
  },
  'TLS against somebody who says something else': { redis: at(web, { tls: {} }), said: says(web, `.*(?:wrong version number|packet length too long).* ${SPEAKS_TLS}`) },
  'no TLS against a port with it': { redis: at(tlsPort), said: says(tlsPort, `.* ${WANTS_TLS}`) },
  'a certificate of an unknown authority': {
    redis: at(tlsPort, { tls: {} }),
    said: says(tlsPort, 'self-signed certificate.* \\(its certificate is not trusted: give its authority in tls: \\{ ca \\}\\)')
  },
  'the certificate of another authority': {
    redis: at(tlsPort, { tls: { ca: other } }),
    said: says(tlsPort, '(?:self-signed certificate|certificate signature failure).* \\(its certificate is not trusted: give its authority in tls: \\{ ca \\}\\)')
  },
  'a certificate of another name': {
    redis: at(tlsPort, { tls: { ca: cert, servername: 'elsewhere' } }),
    said: says(tlsPort, "Hostname/IP does not match certificate's altnames: .* \\(connect by a name that its certificate has, or set tls: \\{ servername \\}\\)")
  },
  'no certificate where one is asked for': {
    redis: at(strictPort, { tls: { ca: strictCert } }),
    // Its last word may be lost with the connection, and a busy machine may lose that before the greeting is over.
    said: says(strictPort, '(?:.*ECONNRESET \\(does the port speak TLS\\? If not, use redis://\\)|(?:.*alert certificate required|.*ECONNRESET|the other side closes the connection) \\(does it ask for a certificate\\? Then set tls: \\{ cert, key \\}\\)|.*; an attempt before failed: .*)')
  },
  'a peer that says nothing': { redis: at(silent), said: says(silent, `the connection is open, and the other side says nothing ${WANTS_TLS}`) },
  'a peer that says nothing to TLS': { redis: at(silent, { tls: {} }), said: says(silent, `the connection is open, and the other side says nothing to TLS ${SPEAKS_TLS}`) },
  'a peer that speaks something else': {
    redis: at(web),
    said: says(web, '(?:Protocol error|Unknown RESP type).*\\(what listens there does not speak the protocol of Redis\\)'),
    own: true
  },
  'a wrong password': { redis: at(plain), said: says(plain, 'Redis says WRONGPASS: it knows no such user, or another password: correct option "redis"') },
  'a database that is not there': {
    redis: at(plain, { password: 'secret', db: 99 }),
    said: says(plain, 'Redis says ERR: it has no such database: ask for one below "databases" of redis\\.conf'),
    own: true
  },
  'a database that may not be selected': {
    redis: at(plain, { username: 'zero', password: 'secret', db: 1 }),
    said: says(plain, 'Redis says NOPERM: its user may not do this: give it the commands and keys that docs/operations.md lists'),
    own: true
  },
  'no Sentinel': {
    redis: { sentinels: [{ host: '127.0.0.1', port: closed }], name: 'm', password: PASSWORD },
    said: new RegExp(`^"m" of Sentinel 127\\.0\\.0\\.1:${closed}: (?:All sentinels are unreachable\\..*|no Sentinel has named the master)$`)
  }
}

/** But for those that a client gives itself while it connects. */
function others (client: GivenClient) {
  const { ready, close, ...others } = listenersOf(client)
  return others
}

/** What Redis, or its socket, says of a place. */
const OF_PLACE = /: (?:Redis says .*|the other side closes the connection)$/

async function tellsWhy (t: Test, revocation: RevocationOptions, said: RegExp) {
  const rig = await Rig.start(t, revocation)
  await eventually('the store is lost', async () => rig.lines.length > 0)
  const outcome = await rig.http('GET', '/me', rig.sign())
  isUnavailable(t, outcome, 'a check')
  const [line, ...more] = rig.lines
  t.strictSame(more, [], 'one line')
  t.equal(line!.level, 50)
  const told = /^jwt revocation: the store is lost; .* until it is back\. (.*)$/.exec(line!.msg)?.[1]
  t.match(told, said)
  t.notMatch(JSON.stringify(rig.lines), PASSWORD)
  await eventually('the cause of a 503 says the same', async () => {
    const { cause } = await rig.http('GET', '/me', rig.sign())
    return said.test(whyLost(cause, told!.replace(OF_PLACE, '')))
  })
}

for (const [name, { redis, said }] of Object.entries(CAUSES)) {
  t.test(`P4 ${name}: the line of the log and the cause of a 503 tell it`, { buffered: true }, async (t) => {
    await tellsWhy(t, { redis, storeTimeout: PATIENCE }, said)
  })
}

/** What each kind of client shows in a way of its own; the rest is one to all of them. */
const OF_EACH = ['a closed port', 'TLS against a port without it', 'a certificate of an unknown authority', 'a peer that says nothing', 'a wrong password', 'no Sentinel']

for (const [kind, make] of Object.entries(GIVEN_CLIENTS)) {
  t.test(`P4 P7 the same of a client that was given (${kind}), which gets no listener`, { buffered: true, jobs: 8 }, async (t) => {
    for (const [name, { redis, said, own }] of Object.entries(CAUSES)) {
      if (own || (!isThorough && kind !== 'ioredis 6' && !OF_EACH.includes(name))) continue
      t.test(name, { buffered: true }, async (t) => {
        const options = { ...redis, maxRetriesPerRequest: 1, retryStrategy: () => 500 }
        const client = givenClient(t, (options) => make(options as string), options as unknown as string)
        const before = others(client)
        // Without a listener the refusal is seen as long as the socket shows it, and a busy machine may look later.
        const seen = name === 'a wrong password' ? new RegExp(`${said.source}|: the other side closes the connection$`) : said
        await tellsWhy(t, { redis: asRedis(client), storeTimeout: PATIENCE }, seen)
        t.strictSame(others(client), before)
      })
    }
  })
}

for (const mode of ['strict', 'replica'] as const) {
  t.test(`P7 nothing is written to another database than the one that was asked for (${mode})`, { buffered: true }, async (t) => {
    for (const more of [{}, { enableReadyCheck: false }]) {
      const keyPrefix = ownPrefix()
      const rig = await Rig.start(t, { redis: at(plain, { password: 'secret', db: 99, ...more }), mode, keyPrefix })
      await eventually('the store is lost', async () => !rig.available)
      // While it tries to connect, again and again.
      for (let round = 0; round < 3; round++) {
        const several = Array.from({ length: 4 }, (_, i) => rig.call(() => rig.app.revocation.revoke({ jti: `j${round}-${i}` })))
        for (const outcome of await Promise.all(several)) isUnavailable(t, outcome, 'a revocation')
      }
      isUnavailable(t, await rig.http('GET', '/me', rig.sign()), 'a check')
      t.strictSame(await admin.keys(`${keyPrefix}*`), [], 'database 0 has nothing of it')
    }
  })
}

t.test('P4 a Redis that stops answering, and a client that its owner closes', { buffered: true }, async (t) => {
  const { server } = await startTlsRedis(t)
  const rig = await Rig.startWell(t, { redis: server.url })
  // Its silence shows before the time of any command is over.
  const replica = await Rig.startWell(t, { redis: server.url, mode: 'replica', maxStaleness: 500, storeTimeout: 10_000 })
  server.pause()
  isUnavailable(t, await rig.http('GET', '/me', rig.sign()), 'a check')
  await eventually('the replica is lost', async () => !replica.available)
  for (const { lines } of [rig, replica]) {
    t.match(lines, [{ msg: new RegExp(` until it is back\\. 127\\.0\\.0\\.1:${server.port}: the connection is open, and Redis does not answer$`) }])
  }
  server.resume()

  const client = givenClient(t, GIVEN_CLIENTS['ioredis 6']!, server.url)
  const given = await Rig.startWell(t, { redis: asRedis(client) })
  client.disconnect()
  await eventually('it is closed', async () => client.status === 'end')
  isUnavailable(t, await given.http('GET', '/me', given.sign()), 'a check')
  t.match(given.lines, [{ msg: new RegExp(` until it is back\\. 127\\.0\\.0\\.1:${server.port}: the client was closed$`) }])
})

t.test('P4 of a cluster: where it was looked for', { buffered: true }, async (t) => {
  const cluster = new Cluster([{ host: '127.0.0.1', port: closed }, `redis://:${PASSWORD}@127.0.0.1:${closed}`, closed], { clusterRetryStrategy: () => 50 })
  cluster.on('error', () => {})
  t.teardown(() => cluster.disconnect())
  const place = `127\\.0\\.0\\.1:${closed}`
  await tellsWhy(t, { redis: cluster }, new RegExp(`^cluster of ${place}, ${place}, ${place}: no node of the cluster can be reached$`))
})

t.test('P4 no URL that was given as a host is told', { buffered: true }, async (t) => {
  for (const make of Object.values(GIVEN_CLIENTS)) {
    const client = givenClient(t, (options) => make(options as string), { host: `redis://:${PASSWORD}@127.0.0.1`, maxRetriesPerRequest: 0 } as unknown as string)
    await tellsWhy(t, { redis: asRedis(client as GivenClient) }, /^\(a URL as host\):6379: getaddrinfo (?:ENOTFOUND|EAI_AGAIN) \(a URL as host\) \(.*\)$/)
  }
})

t.test('P4 a client of ours that leaves a server which it does not trust ends nothing else', { buffered: true }, async (t) => {
  // At every moment of the handshake. What nobody catches fails this file.
  for (let round = 0; round < runs(150); round++) {
    const client = new Redis({ host: '127.0.0.1', port: tlsPort, tls: {}, retryStrategy: () => 5 })
    rememberErrors(client, systemClock)
    await sleep(Math.random() * 12)
    client.disconnect(round % 2 === 0)
    await sleep(Math.random() * 5)
    client.disconnect()
  }
  await sleep(300)
  t.pass('all are closed')
})

t.test('P4 a connection that fails again and again is listened to once', async (t) => {
  const client = Object.assign(new EventEmitter(), { stream: new EventEmitter() })
  rememberErrors(client, systemClock)
  const [first] = [client.stream]
  for (let i = 0; i < 20; i++) client.emit('error', new Error('x'))
  t.equal(first.listenerCount('error'), 1)
  client.stream = new EventEmitter()
  for (let i = 0; i < 20; i++) client.emit('error', new Error('x'))
  t.strictSame([first, client.stream].map((stream) => stream.listenerCount('error')), [1, 1])
})

t.test('what a client shows, and what is made of it', async (t) => {
  const whyFailed = (client: RedisClient) => commandsOf({ client }).why()
  const whyNoAnswer = (client: RedisClient) => commandsOf({ client }).whyNoAnswer()
  const client = (seen: object) => ({ call: async () => null, pipeline: () => ({ exec: async () => [] }), isCluster: false, ...seen })
  const options = { host: 'h', port: 1 }
  const socket = { bytesRead: 0, destroyed: false, connecting: false }
  const failure = (message: string, more: object = {}) => Object.assign(new Error(message), more)
  const several = failure('', { code: 'ECONNREFUSED', errors: [new Error('connect ECONNREFUSED ::1:1'), new Error('connect ECONNREFUSED 127.0.0.1:1')] })
  const wantsTls = 'does the port speak TLS? Then use rediss://, or option tls'
  const rows: Array<[shown: object, message: string | undefined]> = [
    [{}, undefined],
    [{ options, status: 'connecting', stream: null }, undefined],
    [{ options, status: 'connecting', stream: { ...socket, connecting: true } }, 'h:1: no answer to the attempt to connect (is the address right, and does a firewall let it pass?)'],
    [{ options, status: 'connect', stream: { ...socket, bytesRead: 100 } }, 'h:1: the connection is open, and the other side says too little'],
    [{ options: { ...options, tls: {} }, status: 'connect', stream: socket }, 'h:1: the connection is open, and the other side says nothing'],
    [{ options, status: 'close', stream: { ...socket, destroyed: true } }, `h:1: the other side closes the connection (${wantsTls})`],
    [{ options, status: 'close', stream: { ...socket, destroyed: true, bytesRead: 100 } }, 'h:1: the other side closes the connection'],
    [{ options, status: 'close', stream: { ...socket, errored: several } }, 'h:1: connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1 (nothing listens there: check host and port)'],
    [{ options, status: 'close', stream: { ...socket, errored: failure('', { code: 'EWEIRD' }) } }, 'h:1: EWEIRD'],
    [{ options, status: 'close', stream: { ...socket, bytesRead: 100, errored: failure('read ECONNRESET', { code: 'ECONNRESET' }) } }, 'h:1: read ECONNRESET'],
    [{ options: { ...options, tls: {} }, status: 'close', stream: { ...socket, secureConnecting: true, errored: failure('read ECONNRESET', { code: 'ECONNRESET' }) } }, 'h:1: read ECONNRESET (does the port speak TLS? If not, use redis://)'],
    [{ options: {}, status: 'end' }, 'localhost:6379: the client was closed'],
    [{ options: { path: `redis://:${PASSWORD}@h` }, status: 'close', stream: { ...socket, errored: failure(`connect ENOENT redis://:${PASSWORD}@h`, { code: 'ENOENT' }) } }, '(a URL as host): connect ENOENT (a URL as host) (there is no such socket)'],
    [
      { options: { sentinels: [{ host: 's', port: `redis://:${PASSWORD}@h` }], name: `redis://:${PASSWORD}@h` }, status: 'end' },
      '"(a URL as name)" of Sentinel s:(a URL as port): the client was closed'
    ],
    [{ options, status: 'ready', stream: socket }, undefined],
    [{ isCluster: true, startupNodes: [7000, 'redis://h:7001', 'h', { host: 'g' }], status: 'connecting' }, 'cluster of 127.0.0.1:7000, h:7001, ?:6379, g:6379: no node of the cluster can be reached'],
    [{ isCluster: true, startupNodes: [7000], status: 'ready', nodes: () => [{ options, status: 'ready', stream: socket }] }, undefined],
    [{ isCluster: true, startupNodes: [7000], status: 'ready', nodes: () => [{ options, status: 'close', stream: { ...socket, errored: several } }] }, 'h:1: connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1 (nothing listens there: check host and port)']
  ]
  for (const [shown, message] of rows) t.equal(whyFailed(client(shown))?.message, message, message ?? JSON.stringify(shown))
  t.equal(whyNoAnswer(client({})), undefined, 'nothing is said of what shows nothing')
  t.equal(whyNoAnswer(client({ options, status: 'ready', stream: socket }))?.message, 'h:1: the connection is open, and Redis does not answer')
  t.equal(placeOf(client({})), undefined)
  t.equal(whyLost(new Error('x')), 'Redis: what failed is in the fields of this line')
  t.equal(whyLost(new Error('x'), 'h:1'), 'h:1: what failed is in the fields of this line')
  t.match(whyLost(new Error('x', { cause: new Error('OOM x') }), 'h:1'), /^h:1: Redis says OOM: /)
})

t.test('P4 what the last node of a cluster has answered is the cause', async (t) => {
  const last = Object.assign(new Error('NOAUTH Authentication required.'), { name: 'ReplyError', command: { args: [PASSWORD] } })
  const failing = async () => { throw Object.assign(new Error('Failed to refresh slots cache.'), { lastNodeError: last }) }
  const commands = commandsOf({ client: { isCluster: true, call: failing, pipeline: () => ({ exec: failing }) } })
  const error = await commands.send(['get', 'a']).catch((error) => error)
  t.match(error, { message: 'Failed to refresh slots cache.', cause: { message: 'NOAUTH Authentication required.' } })
  t.notMatch(inspect(error, { depth: 9 }), PASSWORD)
})

// The servers keep the process.
t.end()
