import { describe } from 'vitest'
import { announcementTests } from './conformance/announcements.ts'
import { authorityTests } from './conformance/authority.ts'
import { counterAndAuditTests } from './conformance/counters-and-audit.ts'
import { identityTests } from './conformance/identities.ts'
import type { Open } from './conformance/records.ts'
import { sessionTests } from './conformance/sessions.ts'
import { userTests } from './conformance/users.ts'
import { storeTests } from './conformance/whole.ts'

/** What every engine promises; see the port for the words. */
export function storageTests(open: Open): void {
  describe('ST-6: the promises of the port', () => {
    userTests(open)
    authorityTests(open)
    sessionTests(open)
    identityTests(open)
    counterAndAuditTests(open)
    announcementTests(open)
    storeTests(open)
  })
}
