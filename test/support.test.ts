import { holdTimeLimits } from './support/time-limits.ts'
import { connect } from 'node:net'
import { once } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { freePort, ownPart, WIDTH } from './support/ports.ts'
import { startProxy } from './support/proxy.ts'
import { eventually, startCluster, startRedis } from './support/redis.ts'

t.test('a server starts on a port of its own, is asked, paused, resumed and counted', async (t) => {
  const [one, two] = await Promise.all([startRedis(t), startRedis(t)])
  t.not(one.port, two.port)

  t.equal(await one.cli('SET', 'a:1', 'x'), 'OK')
  t.equal(await one.cli('SET', 'a:2', 'x', 'EX', 100), 'OK')
  t.equal(await one.cli('SET', 'b', 'x'), 'OK')
  t.same(await one.keys('a:*'), ['a:1', 'a:2'])
  t.same(await two.keys('*'), [], 'and is alone with it')
  t.equal(await one.cli('GET', 'none'), '')
  t.equal(await one.cli('MGET', 'a:1', 'b'), 'x\nx')
  await t.rejects(one.cli('NONSENSE'), { message: /unknown command/ })
  t.equal(await one.commandCalls('set'), 3)
  t.equal(await one.commandCalls('del'), 0)

  const client = clientOf(t, one.url)
  await client.ping()
  one.pause()
  let answered = false
  const pong = client.ping().then(() => { answered = true })
  t.equal(await two.cli('PING'), 'PONG', 'the other one goes on')
  t.notOk(answered)
  one.resume()
  await pong
  t.ok(answered)
})

t.test('a server comes back on its port, with its data only where it persists', async (t) => {
  for (const persist of [true, false]) {
    const server = await startRedis(t, { persist })
    const { port } = server
    for (const end of [() => server.kill(), () => server.stop()]) {
      await server.cli('SET', 'k', 'v')
      await end()
      t.notOk(server.running)
      t.throws(() => server.pause(), /is not running/)
      await t.rejects(server.cli('PING'))
      await server.start()
      await t.rejects(server.start(), /runs already/)
      t.equal(server.port, port)
      t.equal(await server.cli('GET', 'k'), persist ? 'v' : '')
    }
  }
})

t.test('a paused server is torn down as well, by a test that ends', async (t) => {
  let url = ''
  await t.test('the test', async (t) => {
    const server = await startRedis(t, { args: ['--requirepass', 'p@ss'] })
    url = server.url
    t.equal(await clientOf(t, url).ping(), 'PONG')
    server.pause()
  })
  const client = clientOf(t, url, { lazyConnect: true })
  await t.rejects(client.connect())
})

t.test('a port that is taken is an error where it was asked for', async (t) => {
  const { port } = await startRedis(t)
  await t.rejects(startRedis(t, { port }), { message: /Address already in use/ })
  await t.rejects(startRedis(t, { args: ['--nonsense', 'yes'] }), { message: /ended at once/ })
})

t.test('whoever looks for ports leaves those of others alone', async (t) => {
  const one = await freePort()
  // Both begin to look where the first one did.
  const others = await Promise.all([ownPart(), ownPart()])
  t.not(others[0], others[1])
  for (const other of others) t.ok(one < other || one >= other + WIDTH, 'it is not among those of the first', { one, other })
})

t.test('the proxy does what its mode says, to old and new connections', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, proxy.url)
  t.equal(await client.set('k', 'v'), 'OK')
  t.equal(proxy.connections, 1)
  t.equal(proxy.mode, 'pass')

  await proxy.set({ delayMs: 60 })
  const started = Date.now()
  const order: string[] = []
  await Promise.all(['1', '2', '3'].map(async (n) => order.push(await client.echo(n))))
  t.ok(Date.now() - started >= 115, 'there and back')
  t.same(order, ['1', '2', '3'])

  const overtaken = client.echo('4').then((n) => order.push(n))
  await new Promise((resolve) => setImmediate(resolve))
  await proxy.set('pass')
  await Promise.all([overtaken, client.echo('5').then((n) => order.push(n))])
  t.same(order, ['1', '2', '3', '4', '5'], 'what was delayed is not overtaken')

  await proxy.set({ replace: (chunk) => Buffer.from(chunk.toString('latin1').replace('v', 'w'), 'latin1') })
  t.equal(await client.get('k'), 'w')

  await proxy.set('blackhole')
  const impatient = clientOf(t, proxy.url, { commandTimeout: 2000 })
  await Promise.all([
    t.rejects(impatient.ping(), { message: 'Command timed out' }),
    t.rejects(Promise.race([client.get('k'), rejectAfter(100)]), { message: 'no answer' })
  ])
  t.equal(proxy.connections, 2, 'both are still connected')
  t.equal(await server.cli('GET', 'k'), 'v')
  await proxy.set('pass')
  const fresh = clientOf(t, proxy.url)
  t.equal(await fresh.get('k'), 'v')

  await proxy.set('garbage')
  const gets = await server.commandCalls('get')
  const broken = once(fresh, 'error')
  fresh.get('k').catch(() => {})
  t.match((await broken)[0].message, /unknown RESP type/i)
  t.equal(await server.commandCalls('get'), gets, 'the target hears nothing')
  await proxy.set('pass')
  t.equal(await clientOf(t, proxy.url).get('k'), 'v')

  await proxy.set('refuse')
  t.equal(proxy.connections, 0)
  await t.rejects(clientOf(t, proxy.url, { lazyConnect: true, retryStrategy: () => null }).connect())
  await proxy.set('refuse')
  await proxy.set('pass')
  t.equal(await clientOf(t, proxy.url).get('k'), 'v')
})

t.test('an old connection survives a black hole, not a cut, and not a target that was lost meanwhile', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  const socket = connect(proxy.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('ECHO one\r\n')
  t.equal(String(await once(socket, 'data')), '$3\r\none\r\n')

  await proxy.set('blackhole')
  socket.write('ECHO two\r\n')
  const other = connect(proxy.port, '127.0.0.1')
  await once(other, 'connect')
  other.write('ECHO lost\r\n')
  await eventually('both are swallowed', async () => proxy.connections === 2)
  await new Promise((resolve) => setTimeout(resolve, 50))
  await proxy.set('pass')
  for (const one of [socket, other]) {
    one.write('ECHO three\r\n')
    t.equal(String(await once(one, 'data')), '$5\r\nthree\r\n')
  }

  const cut = once(other, 'error')
  socket.once('error', () => {})
  proxy.cut()
  t.equal((await cut)[0].code, 'ECONNRESET')
  await eventually('both are gone', async () => proxy.connections === 0)

  const third = connect(proxy.port, '127.0.0.1')
  third.write('ECHO one\r\n')
  await once(third, 'data')
  await proxy.set('blackhole')
  await server.kill()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(third.readyState, 'open', 'a black hole hides it')
  const closed = once(third.resume(), 'close')
  await proxy.set('pass')
  await closed
})

t.test('a connection that the proxy forgets hears nothing any more, and a new one is served', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  const old = clientOf(t, proxy.url, { commandTimeout: 2000 })
  await old.set('k', 'v')
  proxy.forget()
  await t.rejects(old.get('k'), { message: 'Command timed out' })
  t.equal(await clientOf(t, proxy.url).get('k'), 'v')
  await server.kill()
  await eventually('the new one is gone', async () => proxy.connections === 1)
  t.equal(old.status, 'ready', 'the old one does not hear that the target is gone')
})

t.test('a cluster is formed, and a key set through a client reads back', async (t) => {
  const { nodes, servers, keys } = await startCluster(t, { masters: 3 })
  const client = new Cluster(nodes)
  t.teardown(() => client.disconnect())
  const names = Array.from({ length: 20 }, (_, i) => `key:${i}`)
  for (const name of names) await client.set(name, name)
  for (const name of names) t.equal(await client.get(name), name)
  t.same(await keys('key:*'), [...names].sort())
  for (const server of servers) t.not((await server.keys('key:*')).length, 0, 'each node holds some')
})

t.test('a cluster has replicas where they are asked for', async (t) => {
  const { servers, keys } = await startCluster(t, { masters: 3, replicas: 1 })
  t.equal(servers.length, 6)
  const roles = await Promise.all(servers.map(async (server) => (await server.cli('ROLE')).split('\n')[0]))
  t.same(roles, ['master', 'master', 'master', 'slave', 'slave', 'slave'])
  await servers[5]!.kill()
  t.same(await keys('*'), [], 'a node that is down is left out')
})

t.test('time that is let pass adds up exactly, whenever it began to stand still', async (t) => {
  for (let i = 0; i < 1000; i++) {
    const releases: Array<() => unknown> = []
    const time = holdTimeLimits({ teardown: (fn) => releases.push(fn) })
    time.pass(30_000)
    const end = performance.now() + 10_000
    time.pass(10_000)
    const missing = end - performance.now()
    for (const release of releases) release()
    if (missing !== 0) return t.fail(`${missing} ms are missing`)
    // The next one begins at another moment.
    await new Promise((resolve) => setImmediate(resolve))
  }
})

function clientOf (t: Test, url: string, options = {}): Redis {
  const client = new Redis(url, options)
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

function rejectAfter (milliseconds: number): Promise<never> {
  return new Promise((_resolve, reject) => setTimeout(() => reject(new Error('no answer')), milliseconds))
}
