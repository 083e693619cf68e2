import type { RedisClient } from '../../types.ts'
import { Cluster } from './cluster.ts'
import type { Commands } from './commands.ts'
import type { Proven } from './connection.ts'
import { Node } from './node.ts'

/** Decides whether a client leads to one node or to a cluster. No other file asks. */
export function commandsOf ({ client, proof }: { client: RedisClient, proof?: Proven }): Commands {
  return client.isCluster ? new Cluster(client, proof) : new Node(client, proof)
}
