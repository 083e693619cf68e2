import { Redis } from 'ioredis'
import t from 'tap'
import { asRedis, GIVEN_CLIENTS, givenClient, Rig } from '../support/outage.ts'
import { startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'

// A file of its own: everything in this process stands still.

/** A busy machine may keep Redis from answering for nearly as long as a stall lasts. */
const STORE_TIMEOUT = 700

const CLIENTS = isThorough ? GIVEN_CLIENTS : { 'ioredis 6': GIVEN_CLIENTS['ioredis 6']! }

for (const [name, make] of [["the plugin's own", undefined], ...Object.entries(CLIENTS)] as const) {
  t.test(`P4 an event loop that stalls while the answer lies in the socket is no outage: a client of ${name}`, async (t) => {
    const server = await startRedis(t)
    const client = make && givenClient(t, make, server.url)
    const rig = await Rig.startWell(t, { redis: client ? asRedis(client) : server.url, storeTimeout: STORE_TIMEOUT })
    const sender: { sendCommand: (...args: any[]) => unknown } = client ?? Redis.prototype
    const { sendCommand } = sender
    const stalls = new Map<string, number>()
    sender.sendCommand = function (command, ...rest) {
      const sent = sendCommand.call(this, command, ...rest)
      const stall = stalls.get(command.name)
      stalls.delete(command.name)
      // After the client's own next ticks: it may gather what it writes.
      if (stall) process.nextTick(() => process.nextTick(block, stall))
      return sent
    }
    t.teardown(() => { sender.sendCommand = sendCommand })

    // The longer one is beyond any limit that a client of our own has.
    for (const milliseconds of make ? [STORE_TIMEOUT + 50] : isThorough ? [STORE_TIMEOUT + 50, 3000] : [3000]) {
      const { jti, token } = await rig.app.revocation.issue({ sub: 'alice' })
      stalls.set('mget', milliseconds)
      t.match(await rig.http('GET', '/me', token), { status: 200 }, `a check, ${milliseconds} ms`)
      stalls.set('eval', milliseconds)
      t.match(await rig.call(() => rig.app.revocation.revoke({ jti })), { status: 200 }, `a revocation, ${milliseconds} ms`)
      stalls.set('mget', milliseconds)
      t.match(await rig.http('GET', '/public', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
      t.equal(stalls.size, 0, 'it stalled each time')
    }
    t.ok(rig.available)
    t.same(rig.lines, [])
  })
}

t.test('P4 an application that is busy while it starts has not lost a store that answered', async (t) => {
  const server = await startRedis(t)
  for (const make of Object.values(GIVEN_CLIENTS)) {
    const client = givenClient(t, make, server.url)
    await client.get('connected')
    const sender: { sendCommand: (...args: any[]) => unknown } = client
    const { sendCommand } = sender
    sender.sendCommand = function (...args) {
      sender.sendCommand = sendCommand
      process.nextTick(() => process.nextTick(block, STORE_TIMEOUT + 50))
      return sendCommand.apply(this, args)
    }
    const rig = await Rig.start(t, { redis: asRedis(client), storeTimeout: STORE_TIMEOUT })
    t.equal(sender.sendCommand, sendCommand, 'it was busy')
    t.ok(rig.available)
    t.same(rig.lines, [])
  }
})

function block (milliseconds: number) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}
