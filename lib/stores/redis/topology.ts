import type { RedisClient } from '../../types.ts'
import { Cluster } from './cluster.ts'
import type { Commands, Proven } from './commands.ts'
import { Node } from './node.ts'

/** Decides whether a client leads to one node or to a cluster. No other file asks. */
export function commandsOf ({ client, proof }: { client: RedisClient, proof?: Proven }): Commands {
  return client.isCluster ? new Cluster(client, proof) : new Node(client, proof)
}
