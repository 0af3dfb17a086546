import { randomBytes } from 'node:crypto'
import pg from 'pg'

/** Makes a database with a name of its own on a server that is named by the URL of another database. */
export async function makeDatabase(admin: string, template = 'template0') {
  const name = `t_${randomBytes(8).toString('hex')}`
  await query(admin, `create database ${name} template ${template} encoding 'UTF8'`)
  const [address = '', parameters] = admin.split('?', 2)
  return {
    name,
    url: `${address.replace(/\/[^/]*$/, `/${name}`)}${parameters === undefined ? '' : `?${parameters}`}`,
    drop: async () => void (await query(admin, `drop database if exists ${name} with (force)`)),
  }
}

/** One statement on a connection of its own. */
export async function query<T extends pg.QueryResultRow>(url: string, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<T>(text)).rows
  } finally {
    await client.end()
  }
}
