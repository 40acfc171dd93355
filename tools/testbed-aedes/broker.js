// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// An aedes broker for everybody, in memory: node broker.js PORT (of both families). Ends on SIGTERM.
// Every second it says on $SYS what it received, under the names and by the rules of mosquitto:
// messages without retained and QoS 2 ones, payload bytes of all.

'use strict'

const net = require('node:net')
const aedes = require('aedes')()

const received = { messages: 0, bytes: 0 }

// Before it is acknowledged or routed: who has seen either finds it counted.
const authorize = aedes.authorizePublish
aedes.authorizePublish = (client, packet, callback) => {
  if (client) { // not ours
    received.bytes += packet.payload.length
    if (packet.qos < 2 && !packet.retain) received.messages += 1
  }
  authorize(client, packet, callback)
}

function tell () {
  const numbers = [
    ['publish/messages/received', received.messages],
    ['publish/bytes/received', received.bytes],
    ['uptime', Math.round(process.uptime())] // the last of a tick
  ]
  for (const [name, number] of numbers) {
    aedes.publish({
      cmd: 'publish', topic: `$SYS/broker/${name}`, payload: String(number), qos: 0, retain: false
    }, () => {})
  }
}

const server = net.createServer({ noDelay: true }, aedes.handle)
const ticks = setInterval(tell, 1000)

server.listen({ port: Number(process.argv[2]), host: '::', backlog: 4096 })
server.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
aedes.on('clientError', (client, error) => console.log(`${client.id}: ${error.message}`))
aedes.on('connectionError', (client, error) => console.log(`refused: ${error.message}`))

process.on('SIGTERM', () => {
  clearInterval(ticks)
  server.close()
  aedes.close(() => process.exit(0))
})
