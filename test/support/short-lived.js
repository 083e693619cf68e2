import { setFlagsFromString } from 'node:v8'

/*
 * With `node --import`, for a process that lives a few seconds: V8 optimizes only what runs thirty times as long as it
 * does by default. Otherwise it spends almost half of the time on code whose tests are over when it is ready.
 * Not on the command line: a Node without this flag would not start. Node.js 24 has none, and says so.
 */
setFlagsFromString('--interrupt-budget=4000000')
