package sagas

import "example.com/life/events"

// DefaultWallet is the wallet of agents that name none; DefaultTenant the tenant.
const (
	DefaultWallet events.WalletID = "main"
	DefaultTenant events.TenantID = "local"
)
