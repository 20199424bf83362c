// Package membership makes a host a member of a cluster.
package membership
